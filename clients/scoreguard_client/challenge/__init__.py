"""Challenges: adversarial images that somebody made elsewhere, scored like those of a run and added to it."""

from __future__ import annotations

from scoreguard_client.challenge.best_known import Standing, standings_of
from scoreguard_client.challenge.errors import ChallengeError
from scoreguard_client.challenge.launch import ChallengeOptions, Outcome, challenge

__all__ = ["ChallengeError", "ChallengeOptions", "Outcome", "Standing", "challenge", "standings_of"]
