"""Checks of a budget that know nothing of how it is kept."""

from __future__ import annotations

from scoreguard_client.attacks import Attack, AttackResult
from scoreguard_client.oracles.base import Images
from scoreguard_client.testing.budgets import budget_findings, form_findings


def require_budget(attack: Attack, clean: Images, result: AttackResult) -> None:
    """L-infinity, root mean squared error or number of pixels, whichever it states; clean images are 8-bit."""
    assert not [*budget_findings(attack, clean, result), *form_findings(clean, result)]
