"""What the tests of a package of your own need: one call tells whether an attack obeys every rule of the catalogue.

from scoreguard_client.testing import check_attack

def test_nifgsm_obeys_every_rule() -> None:
check_attack("nifgsm:iterations=3")
"""

from __future__ import annotations

from scoreguard.support.rules import Rule, without
from scoreguard_client.testing.attacks import ATTACK_RULES, check_attack
from scoreguard_client.testing.errors import RuleBrokenError

__all__ = ["ATTACK_RULES", "Rule", "RuleBrokenError", "check_attack", "without"]
