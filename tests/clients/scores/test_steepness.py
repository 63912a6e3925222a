"""Sensitivity: norms and bounds against numpy and against functions whose steepest point is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from scoreguard.score_range import ScoreRange
from scoreguard_client.oracles.base import GradientOracle, Gradients, Images, OracleFacts, Scores
from scoreguard_client.oracles.worst_gradient import worst_gradient_norm
from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.errors import ScoresError
from scoreguard_client.scores.scaling import Values
from scoreguard_client.scores.steepness import Ball, dual_norms, first_order_bounds, realised_shares, sensitivity
from scoreguard_client.testing.oracles import CurvedOracle, LinearOracle, noise

BALLS = pytest.mark.parametrize("ball", list(Ball))


@dataclass(kw_only=True)
class BowlOracle:
    """score = sum(curve / 2 * image² + slope * image); its gradient curve * image + slope is known everywhere."""

    curve: Images
    """(3, H, W)."""
    slope: Images
    """(3, H, W)."""
    asked: list[Images]

    @property
    def facts(self) -> OracleFacts:
        """Any range."""
        return OracleFacts(metric="bowl", score_range=ScoreRange(low=0, high=1))

    def score(self, images: Images) -> Scores:
        """Compute the function."""
        return np.asarray((self.curve / 2 * images**2 + self.slope * images).sum(axis=(1, 2, 3)), dtype=np.float64)

    def gradient(self, images: Images) -> tuple[Scores, Gradients]:
        """Compute the function and its derivative."""
        self.asked.append(images)
        return self.score(images), self.curve * images + self.slope


def length(values: Images, ball: Ball) -> Values:
    """Of each image's change in the ball's own norm."""
    flat = values.astype(np.float64).reshape(len(values), -1)
    return np.asarray(np.linalg.norm(flat, np.inf if ball is Ball.L_INFINITY else 2, axis=1))


@BALLS
def test_the_dual_norm_is_the_greatest_gain_of_a_linear_score(ball: Ball) -> None:
    """Numpy's L1 and L2; the best change of length eps gains exactly the bound, and no other gains more."""
    rng = np.random.default_rng(0)
    gradients = rng.normal(0, 1, (4, 3, 5, 7))
    flat = gradients.reshape(4, -1)
    assert dual_norms(gradients, ball) == pytest.approx(
        np.linalg.norm(flat, 1 if ball is Ball.L_INFINITY else 2, axis=1)
    )
    eps = 0.05
    bounds = first_order_bounds(gradients, eps, ball)
    best = np.sign(flat) if ball is Ball.L_INFINITY else flat / np.linalg.norm(flat, axis=1, keepdims=True)
    assert (eps * best * flat).sum(axis=1) == pytest.approx(bounds)
    others = rng.normal(0, 1, (200, 4, 105))
    others *= eps / np.linalg.norm(others, np.inf if ball is Ball.L_INFINITY else 2, axis=2, keepdims=True)
    assert ((others * flat).sum(axis=2) < bounds).all()


def test_single_precision_gradients_are_summed_in_double_precision() -> None:
    """Three million values of 0.1: single precision would be off in the fifth digit."""
    gradients = np.full((1, 3, 1000, 1000), 0.1, dtype=np.float32)
    assert dual_norms(gradients, Ball.L_INFINITY)[0] == pytest.approx(3e6 * float(np.float32(0.1)), rel=1e-12)
    assert dual_norms(gradients, Ball.L2)[0] == pytest.approx(np.sqrt(3e6) * float(np.float32(0.1)), rel=1e-12)


def test_gains_stand_beside_their_bounds() -> None:
    """A linear score realises all of its bound; a gradient of 0 leaves the share undefined."""
    rng = np.random.default_rng(1)
    gradients = rng.normal(0, 1, (40, 3, 4, 4))
    bounds = first_order_bounds(gradients, 0.1, Ball.L_INFINITY)
    clusters = Clusters([str(number) for number in range(40)])
    got = sensitivity(dual_norms(gradients, Ball.L_INFINITY), 0.3 * bounds, 0.1, clusters)
    assert got.realised.value == pytest.approx(0.3)
    assert got.bound.value == pytest.approx(bounds.mean())
    assert got.norm.low < got.norm.value < got.norm.high
    assert got.norm.value == pytest.approx(10 * got.bound.value)
    assert np.isnan(realised_shares(np.array([0.0, 1.0]), np.array([0.0, 2.0]))).tolist() == [True, False]
    assert sensitivity(np.zeros(40), np.zeros(40), 0.1, clusters).realised.note == "undefined"
    for eps in (0, -1, float("nan")):
        with pytest.raises(ScoresError, match="above 0"):
            first_order_bounds(gradients, eps, Ball.L2)


def test_the_ascent_finds_the_steepest_corner_of_a_bowl() -> None:
    """Each value's slope grows towards one end of its interval, where the norm is greatest in closed form."""
    rng = np.random.default_rng(2)
    curve = rng.normal(0, 1, (3, 6, 5)).astype(np.float32)
    slope = (3 * rng.choice([-1, 1], (3, 6, 5))).astype(np.float32)  # so large that no slope changes its sign
    images = rng.uniform(0, 1, (3, 3, 6, 5)).astype(np.float32)
    oracle = BowlOracle(curve=curve, slope=slope, asked=[])
    eps = 0.1
    found = worst_gradient_norm(oracle, images, eps=eps, steps=10)
    ends = [np.abs(curve * np.clip(images + side, 0, 1) + slope) for side in (-eps, eps)]
    wanted = np.maximum(*ends).astype(np.float64).sum(axis=(1, 2, 3))
    assert found.norms == pytest.approx(wanted, rel=1e-5)
    assert found.clean_norms == pytest.approx(np.abs(curve * images + slope).sum(axis=(1, 2, 3)), rel=1e-5)
    assert (found.norms > 1.01 * found.clean_norms).all()
    assert found.gradients == len(oracle.asked) == 21


@BALLS
def test_every_point_asked_about_is_inside_the_ball_and_the_range(ball: Ball) -> None:
    """And the norm returned is that at the point returned, no less than at the image."""
    images = np.random.default_rng(3).uniform(0, 1, (4, 3, 6, 6)).astype(np.float32)
    images[0] = 0
    images[1] = 1
    oracle = BowlOracle(curve=noise((3, 6, 6), 1), slope=noise((3, 6, 6), 2), asked=[])
    found = worst_gradient_norm(oracle, images, eps=0.3, ball=ball, steps=6)
    for asked in [*oracle.asked, found.images]:
        assert (length(asked - images, ball) <= 0.3 + 1e-6).all()
        assert asked.min() >= 0
        assert asked.max() <= 1
    assert found.norms == pytest.approx(dual_norms(oracle.gradient(found.images)[1], ball), rel=1e-6)
    assert (found.norms >= found.clean_norms).all()
    assert (found.norms > 1.01 * found.clean_norms)[2:].all()


@BALLS
@pytest.mark.parametrize("kind", ["linear", "curved"])
def test_no_change_inside_the_ball_gains_more_than_the_worst_norm_allows(ball: Ball, kind: str) -> None:
    """The mean value theorem with the steepest point found: attacks stay below, and on a linear score reach it."""
    weights = noise((3, 8, 8), 4)
    oracle: GradientOracle = LinearOracle(weights=weights) if kind == "linear" else CurvedOracle(weights=weights)
    images = (0.5 + 0.2 * noise((2, 3, 8, 8), 5).clip(-1, 1)).astype(np.float32)
    eps = 0.05
    found = worst_gradient_norm(oracle, images, eps=eps, ball=ball, steps=20)
    points = images
    for _ in range(40):
        slopes = oracle.gradient(points)[1]
        step = np.sign(slopes) if ball is Ball.L_INFINITY else slopes / length(slopes, Ball.L2)[:, None, None, None]
        moved = (points + 0.1 * eps * step - images).astype(np.float32)
        scale = np.minimum(1, eps / np.maximum(length(moved, ball), 1e-12))[:, None, None, None]
        inside = np.clip(moved, -eps, eps) if ball is Ball.L_INFINITY else moved * scale
        points = np.clip(images + inside, 0, 1).astype(np.float32)
    gains = oracle.score(points) - oracle.score(images)
    shares = realised_shares(gains, eps * found.norms)
    assert (shares <= 1 + 1e-3).all()
    assert (shares > 0.5).all()
    if kind == "linear":
        assert shares == pytest.approx(1, abs=1e-3)
