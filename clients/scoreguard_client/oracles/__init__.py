"""Oracles: what an attack asks, the live endpoint or a local archive."""

from __future__ import annotations

from scoreguard_client.oracles.base import GradientOracle, Gradients, Images, OracleFacts, ScoreOracle, Scores
from scoreguard_client.oracles.errors import SurrogateError
from scoreguard_client.oracles.live import LiveGradientOracle, LiveScoreOracle
from scoreguard_client.oracles.local import LocalOracle, find_surrogate

__all__ = [
    "GradientOracle",
    "Gradients",
    "Images",
    "LiveGradientOracle",
    "LiveScoreOracle",
    "LocalOracle",
    "OracleFacts",
    "ScoreOracle",
    "Scores",
    "SurrogateError",
    "find_surrogate",
]
