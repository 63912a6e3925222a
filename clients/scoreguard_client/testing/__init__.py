"""For the tests of your own code: a service without server or sockets, and the rules that every attack obeys.

from scoreguard_client.testing import check_attack, fake_client

def test_nifgsm_obeys_every_rule() -> None:
    check_attack("nifgsm:iterations=3")
"""

from __future__ import annotations

from scoreguard.support.rules import Rule, without
from scoreguard_client.testing.attacks import ATTACK_RULES, check_attack
from scoreguard_client.testing.errors import RuleBrokenError
from scoreguard_client.testing.service import FakeCall, FakeService, fake_client

__all__ = [
    "ATTACK_RULES",
    "FakeCall",
    "FakeService",
    "Rule",
    "RuleBrokenError",
    "check_attack",
    "fake_client",
    "without",
]
