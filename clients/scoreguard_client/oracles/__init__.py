"""Oracles that attacks query: the live endpoint or a local archive."""

from __future__ import annotations

from scoreguard_client.oracles.base import (
    DrawingOracle,
    GradientOracle,
    Gradients,
    Images,
    OracleFacts,
    ScoreOracle,
    Scores,
)
from scoreguard_client.oracles.draws import Needed, draws_needed
from scoreguard_client.oracles.errors import SurrogateError
from scoreguard_client.oracles.live import LiveGradientOracle, LiveScoreOracle
from scoreguard_client.oracles.local import LocalOracle, find_surrogate

__all__ = [
    "DrawingOracle",
    "GradientOracle",
    "Gradients",
    "Images",
    "LiveGradientOracle",
    "LiveScoreOracle",
    "LocalOracle",
    "Needed",
    "OracleFacts",
    "ScoreOracle",
    "Scores",
    "SurrogateError",
    "draws_needed",
    "find_surrogate",
]
