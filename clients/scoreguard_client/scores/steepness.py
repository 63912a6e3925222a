"""Sensitivity: how steep the score is, and how much of what that allows an attack has got.

    |f(x') - f(x)| <= eps * max over the ball of ||grad f||_dual,    to first order  eps * ||grad f(x)||_dual

The dual norm is L1 for a ball in L-infinity and L2 for one in L2. The first-order bound at the clean image is what one
step of an attack could gain if the score were linear; a share far above 1 shows that it is not, so that the gradient at
the clean image hides what is near it. The norm of the worst point that was found in the ball
(`oracles.worst_gradient`) is a lower estimate of the maximum, which bounds every gain.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.errors import ScoresError
from scoreguard_client.scores.estimates import Estimate, mean_estimate
from scoreguard_client.scores.scaling import Values

GradientArray = npt.NDArray[np.floating[Any]]
"""d score / d image: (N, C, H, W), in units of the score for an image in [0, 1]."""


class Ball(StrEnum):
    """The norm in which a budget is measured."""

    L_INFINITY = "linf"
    """The largest change of a value."""
    L2 = "l2"
    """The root of the sum of squared changes."""


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """Steepness and what an attack made of it, each a mean over rows with an interval over images."""

    norm: Estimate
    """Dual norm of the gradient, in units of the score for the whole range of a pixel."""
    bound: Estimate
    """Budget times that norm, in units of the score."""
    realised: Estimate
    """Gain as a share of that bound; undefined if a gradient is 0."""


def dual_norms(gradients: GradientArray, ball: Ball) -> Values:
    """Compute the norm that bounds the change within a ball of radius 1: (N,); summed in double precision.

    Args:
        gradients: (N, C, H, W), at any points.
        ball: the norm of the budget: L1 for L-infinity, L2 for L2.
    """
    flat = gradients.reshape(len(gradients), -1)
    if ball is Ball.L_INFINITY:
        return np.asarray(np.abs(flat).sum(axis=1, dtype=np.float64))
    return np.asarray(np.sqrt(np.square(flat, dtype=np.float64).sum(axis=1)))


def first_order_bounds(gradients: GradientArray, eps: float, ball: Ball) -> Values:
    """Compute the greatest change that a linear score could have: (N,), in units of the score.

    Args:
        gradients: (N, C, H, W).
        eps: radius of the ball, above 0, for images in [0, 1]; for L2 that of the whole image.
        ball: the norm of the budget.

    Raises:
        ScoresError: the radius is not above 0.
    """
    if not eps > 0:
        raise ScoresError(f"the radius of a ball must be above 0, not {eps:g}")
    return eps * dual_norms(gradients, ball)


def realised_shares(gains: Values, bounds: Values) -> Values:
    """Compute each gain as a share of its bound: (N,); NaN (undefined) where the bound is 0.

    Args:
        gains: f(x') - f(x), oriented so that the attack wanted it to be above 0: (N,).
        bounds: of the same images: (N,).
    """
    flat = ~(bounds > 0)
    return np.where(flat, np.nan, gains / np.where(flat, 1.0, bounds))


def sensitivity(norms: Values, gains: Values, eps: float, clusters: Clusters) -> Sensitivity:
    """Put the norms beside what an attack gained.

    Args:
        norms: dual norm of each row's gradient, at the clean image or at the worst point found: (rows,).
        gains: what the attack gained: (rows,).
        eps: radius of the ball.
        clusters: the image of each row.
    """
    bounds = eps * norms
    return Sensitivity(
        norm=mean_estimate(norms, clusters),
        bound=mean_estimate(bounds, clusters),
        realised=mean_estimate(realised_shares(gains, bounds), clusters, changes=gains),
    )
