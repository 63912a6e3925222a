"""Robustness scores: pure functions on arrays."""

from __future__ import annotations

from scoreguard.score_range import ScoreRange
from scoreguard_client.scores.agreement import krocc, plcc, srocc
from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.correlations import KROCC, PLCC, SROCC, Correlation
from scoreguard_client.scores.distances import energy_score, wasserstein_score
from scoreguard_client.scores.estimates import Estimate, correlation_estimate, distance_estimate, mean_estimate
from scoreguard_client.scores.fidelity import l_infinity, psnr, ssim
from scoreguard_client.scores.gains import absolute_gain, relative_gain
from scoreguard_client.scores.purification import purification_gain, quality_score, quality_score_printed
from scoreguard_client.scores.r_score import RMode, r_score
from scoreguard_client.scores.scaling import Scaling, scale_pair

__all__ = [
    "KROCC",
    "PLCC",
    "SROCC",
    "Clusters",
    "Correlation",
    "Estimate",
    "RMode",
    "Scaling",
    "ScoreRange",
    "absolute_gain",
    "correlation_estimate",
    "distance_estimate",
    "energy_score",
    "krocc",
    "l_infinity",
    "mean_estimate",
    "plcc",
    "psnr",
    "purification_gain",
    "quality_score",
    "quality_score_printed",
    "r_score",
    "relative_gain",
    "scale_pair",
    "srocc",
    "ssim",
    "wasserstein_score",
]
