"""The steepest point near an image: ascent of the gradient's norm within a ball.

The norm's own derivative is a product of the score's second derivative with a direction, which the difference of two
gradients gives without it: grad f(x + h s) - grad f(x) is about h H s. With s the sign of the gradient (L-infinity) or
the gradient itself (L2), H s is the derivative of the norm. Every point asked about is inside the ball, and the largest
norm of all is returned, so that more steps never give less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from scoreguard_client.oracles.base import GradientOracle, Gradients, Images
from scoreguard_client.scores.scaling import Values
from scoreguard_client.scores.steepness import Ball, GradientArray, dual_norms

_PROBE: Final = 0.25
"""Length h of the difference, as a share of the radius: single-precision gradients need more than a hair's breadth."""
_REACH: Final = 2.5
"""How many times the radius all steps together are long (Madry et al. 2018)."""


@dataclass(frozen=True, kw_only=True)
class WorstGradients:
    """The steepest points found."""

    norms: Values
    """Largest dual norm found for each image: (N,)."""
    clean_norms: Values
    """Dual norm at the image itself: (N,)."""
    images: Images
    """Where the largest norms are: (N, 3, H, W)."""
    gradients: int
    """Gradients asked for, for each image."""


def worst_gradient_norm(
    oracle: GradientOracle, images: Images, *, eps: float, ball: Ball = Ball.L_INFINITY, steps: int = 10
) -> WorstGradients:
    """Look for the largest dual norm of the gradient within a ball around each image.

    Args:
        oracle: answers with gradients; behind a random defence it should average enough draws.
        images: the clean images, (N, 3, H, W) in [0, 1].
        eps: radius of the ball, for images in [0, 1]; for L2 that of the whole image.
        ball: the norm of the budget.
        steps: steps of the ascent; each costs two gradients.

    Returns:
        A lower estimate of the largest norm, no less than that at the image itself.
    """
    best = _Best(oracle, ball)
    points, slopes = images, best.ask(images)
    clean_norms = best.norms.copy()
    for _ in range(steps):
        probes = _inside(points + _PROBE * eps * _direction(slopes, ball), images, eps, ball)
        curvature = best.ask(probes) - slopes
        points = _inside(points + _REACH * eps / steps * _direction(curvature, ball), images, eps, ball)
        slopes = best.ask(points)
    return WorstGradients(norms=best.norms, clean_norms=clean_norms, images=best.images, gradients=best.asked)


class _Best:
    """Asks for gradients and keeps the point with the largest norm of each image."""

    def __init__(self, oracle: GradientOracle, ball: Ball) -> None:
        self._oracle, self._ball = oracle, ball
        self.asked = 0
        self.images: Images
        self.norms: Values

    def ask(self, points: Images) -> Gradients:
        _, slopes = self._oracle.gradient(points)
        norms = dual_norms(slopes, self._ball)
        if not self.asked:
            self.images, self.norms = points.copy(), norms
        better = norms > self.norms
        self.images[better], self.norms[better] = points[better], norms[better]
        self.asked += 1
        return slopes


def _direction(slopes: Gradients, ball: Ball) -> Gradients:
    """Return the steepest direction of length 1 in the ball's norm; 0 where there is none."""
    if ball is Ball.L_INFINITY:
        return np.sign(slopes)
    lengths = dual_norms(slopes, Ball.L2)[:, None, None, None]
    return np.asarray(slopes / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def _inside(points: GradientArray, clean: Images, eps: float, ball: Ball) -> Images:
    """Move points into the ball and [0, 1]; a clean image is in [0, 1], so the last step leads nowhere out of it."""
    if ball is Ball.L_INFINITY:
        moved = np.clip(points, clean - eps, clean + eps)
    else:
        changes = points - clean
        lengths = dual_norms(changes, Ball.L2)[:, None, None, None]
        moved = clean + changes * np.minimum(1, eps / np.where(lengths > 0, lengths, 1))
    return np.clip(moved, 0, 1).astype(np.float32)
