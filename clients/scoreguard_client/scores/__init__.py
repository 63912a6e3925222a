"""Robustness scores: pure functions on arrays."""

from __future__ import annotations

from scoreguard.score_range import ScoreRange
from scoreguard_client.scores.agreement import krocc, plcc, srocc
from scoreguard_client.scores.budget_curves import BudgetCurve, budget_curve
from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.comparisons import Comparison, compare, holm
from scoreguard_client.scores.correlations import KROCC, PLCC, SROCC, Correlation
from scoreguard_client.scores.detection import Roc, Tampering, alarm_threshold, least_clean_images, roc, tampering
from scoreguard_client.scores.distances import energy_score, wasserstein_score
from scoreguard_client.scores.domain_transform import DomainTransform, Sample
from scoreguard_client.scores.errors import ScoresError
from scoreguard_client.scores.estimates import Estimate, correlation_estimate, distance_estimate, mean_estimate
from scoreguard_client.scores.fidelity import l_infinity, psnr, ssim
from scoreguard_client.scores.gains import absolute_gain, relative_gain
from scoreguard_client.scores.inversions import RankInversions, inversions_by_budget, rank_inversions
from scoreguard_client.scores.ordering import OrderTable, OrderViolations, order_table, order_violations
from scoreguard_client.scores.purification import purification_gain, quality_score, quality_score_printed
from scoreguard_client.scores.r_score import RMode, r_score
from scoreguard_client.scores.ranking import Best, Rank, ranks
from scoreguard_client.scores.scaling import Scaling, scale_pair
from scoreguard_client.scores.shares import pair_share_estimate, share_estimate
from scoreguard_client.scores.steepness import (
    Ball,
    Sensitivity,
    dual_norms,
    first_order_bounds,
    realised_shares,
    sensitivity,
)

__all__ = [
    "KROCC",
    "PLCC",
    "SROCC",
    "Ball",
    "Best",
    "BudgetCurve",
    "Clusters",
    "Comparison",
    "Correlation",
    "DomainTransform",
    "Estimate",
    "OrderTable",
    "OrderViolations",
    "RMode",
    "Rank",
    "RankInversions",
    "Roc",
    "Sample",
    "Scaling",
    "ScoreRange",
    "ScoresError",
    "Sensitivity",
    "Tampering",
    "absolute_gain",
    "alarm_threshold",
    "budget_curve",
    "compare",
    "correlation_estimate",
    "distance_estimate",
    "dual_norms",
    "energy_score",
    "first_order_bounds",
    "holm",
    "inversions_by_budget",
    "krocc",
    "l_infinity",
    "least_clean_images",
    "mean_estimate",
    "order_table",
    "order_violations",
    "pair_share_estimate",
    "plcc",
    "psnr",
    "purification_gain",
    "quality_score",
    "quality_score_printed",
    "r_score",
    "rank_inversions",
    "ranks",
    "realised_shares",
    "relative_gain",
    "roc",
    "scale_pair",
    "sensitivity",
    "share_estimate",
    "srocc",
    "ssim",
    "tampering",
    "wasserstein_score",
]
