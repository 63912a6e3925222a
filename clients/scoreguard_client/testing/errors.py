"""Findings of a checker.

ScoreguardError
└── RuleBrokenError   an attack that breaks a rule of all attacks
"""

from __future__ import annotations

from scoreguard.support.rules import Breach
from scoreguard_client._exceptions import ScoreguardError


class RuleBrokenError(ScoreguardError):
    """An attack that breaks a rule of all attacks."""

    def __init__(self, subject: str, breach: Breach) -> None:
        self.subject, self.rule, self.found, self.advice = subject, breach.rule, breach.found, breach.advice
        super().__init__(breach.about(subject))
