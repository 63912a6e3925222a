"""Check in your own tests, with one call, that a metric or a defence obeys every rule of the catalogue.

from scoreguard_export.testing import check_defence

def test_gamma_obeys_every_rule() -> None:
check_defence(Gamma)
"""

from __future__ import annotations

from scoreguard.support.rules import Rule, without
from scoreguard_export.errors import RuleBrokenError
from scoreguard_export.testing.check import DEFENCE_RULES, METRIC_RULES, check_defence, check_metric

__all__ = ["DEFENCE_RULES", "METRIC_RULES", "Rule", "RuleBrokenError", "check_defence", "check_metric", "without"]
