"""The budget: exact in float32, and on the 8-bit grid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreguard_client.attacks.regions.linf import SLACK, ball_around
from scoreguard_client.attacks.regions.mse import MseRegion
from scoreguard_client.attacks.regions.sparse import SparseRegion
from scoreguard_client.attacks.regions.ssim import SsimRegion
from scoreguard_client.testing.budgets import ssim_by_definition

EPS = st.one_of(st.floats(1e-4, 1.0), st.integers(1, 64).map(lambda levels: levels / 255))
SHAPES = st.tuples(st.integers(1, 3), st.just(3), st.integers(1, 9), st.integers(1, 9))


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, eps=EPS, seed=st.integers(0, 2**32 - 1))
def test_a_clipped_image_is_never_further_than_eps_nor_outside_the_range(
    shape: tuple[int, ...], eps: float, seed: int
) -> None:
    """Whatever is clipped, the float64 distance of the float32 values is at most eps, with no tolerance."""
    rng = np.random.default_rng(seed)
    clean = rng.random(shape, dtype=np.float32)
    wild = (clean + rng.normal(0, 2, shape)).astype(np.float32)
    clipped = ball_around(clean, eps).clip(wild)
    assert np.abs(clipped.astype(np.float64) - clean.astype(np.float64)).max() <= eps
    assert clipped.min() >= 0
    assert clipped.max() <= 1
    assert clipped.dtype == np.float32


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, eps=EPS, seed=st.integers(0, 2**32 - 1))
def test_the_bounds_give_away_less_than_two_roundings(shape: tuple[int, ...], eps: float, seed: int) -> None:
    """The ball is not made smaller than float32 forces it to be."""
    clean = np.random.default_rng(seed).random(shape, dtype=np.float32)
    ball = ball_around(clean, eps)
    exact = np.minimum(clean.astype(np.float64) + eps, 1)
    assert np.all(exact - ball.high <= 2 * np.spacing(ball.high))


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, eps=EPS, seed=st.integers(0, 2**32 - 1))
def test_rounding_an_8bit_image_stays_inside_the_budget_in_whole_levels(
    shape: tuple[int, ...], eps: float, seed: int
) -> None:
    """The rounded image differs from the clean levels by at most floor(255 eps), and is the nearest such image."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 256, shape)
    clean = (levels / 255).astype(np.float32)
    ball = ball_around(clean, eps)
    attacked = ball.clip((clean + rng.uniform(-2 * eps, 2 * eps, shape)).astype(np.float32))
    rounded = ball.quantise(attacked).astype(int)
    reach = int(np.floor(255 * eps + SLACK))
    assert np.abs(rounded - levels).max() <= reach
    wanted = np.clip(np.rint(attacked.astype(np.float64) * 255), levels - reach, levels + reach)
    np.testing.assert_array_equal(rounded, np.clip(wanted, 0, 255))


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, eps=EPS, seed=st.integers(0, 2**32 - 1))
def test_rounding_any_image_leaves_the_ball_by_no_more_than_the_resolution_of_8_bits(
    shape: tuple[int, ...], eps: float, seed: int
) -> None:
    """For clean images off the grid the distance is at most eps, or half a level where no level lies within eps."""
    rng = np.random.default_rng(seed)
    clean = rng.random(shape, dtype=np.float32)
    ball = ball_around(clean, eps)
    rounded = ball.quantise(ball.clip((clean + rng.normal(0, eps, shape)).astype(np.float32))) / 255
    assert np.abs(rounded - clean).max() <= max(eps, 0.5 / 255) + 2 * SLACK / 255


@pytest.mark.parametrize("levels", [1, 4, 10])
def test_a_full_step_survives_the_rounding(levels: int) -> None:
    """A perturbation of whole levels is not lost: x + eps rounds to exactly that many levels above x."""
    clean = (np.full((1, 3, 2, 2), 100) / 255).astype(np.float32)
    ball = ball_around(clean, levels / 255)
    assert np.all(ball.quantise(ball.high) == 100 + levels)
    assert np.all(ball.quantise(ball.low) == 100 - levels)


def test_every_image_may_have_a_radius_of_its_own() -> None:
    """A ball takes one eps for each image."""
    clean = np.full((2, 3, 4, 4), 0.5, dtype=np.float32)
    moved = ball_around(clean, np.array([0.1, 0.2])).clip(np.ones_like(clean))
    np.testing.assert_allclose(moved[:, 0, 0, 0], [0.6, 0.7], atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, rmse=st.floats(1e-4, 0.5), seed=st.integers(0, 2**32 - 1))
def test_a_mean_squared_error_is_never_exceeded_and_not_given_away(
    shape: tuple[int, ...], rmse: float, seed: int
) -> None:
    """In float64 exactly, before and after rounding to 8 bits; what was outside ends near the bound."""
    rng = np.random.default_rng(seed)
    clean = (rng.integers(0, 256, shape) / 255).astype(np.float32)
    region, wild = MseRegion(clean=clean, rmse=rmse), (clean + rng.normal(0, 1, shape)).astype(np.float32)
    clipped = region.clip(wild)
    errors = np.sqrt(((clipped.astype(np.float64) - clean) ** 2).mean(axis=(1, 2, 3)))
    wanted = np.sqrt(((np.clip(wild, 0, 1).astype(np.float64) - clean) ** 2).mean(axis=(1, 2, 3)))
    assert np.all(errors <= rmse)
    np.testing.assert_allclose(errors, np.minimum(wanted, rmse), rtol=1e-3, atol=1e-6)
    rounded = np.sqrt(((region.quantise(clipped) / 255 - clean) ** 2).mean(axis=(1, 2, 3)))
    assert np.all(rounded <= rmse)
    assert 0 <= clipped.min() <= clipped.max() <= 1


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, pixels=st.integers(1, 30), seed=st.integers(0, 2**32 - 1))
def test_no_more_pixels_change_than_allowed_and_the_most_changed_stay(
    shape: tuple[int, ...], pixels: int, seed: int
) -> None:
    """The others are the clean ones bit for bit."""
    rng = np.random.default_rng(seed)
    clean = (rng.integers(0, 256, shape) / 255).astype(np.float32)
    wild = np.clip(clean + rng.normal(0, 0.5, shape), 0, 1).astype(np.float32)
    region = SparseRegion(clean=clean, pixels=pixels)
    clipped = region.clip(wild)
    changed = (clipped != clean).any(axis=1)
    assert changed.sum(axis=(1, 2)).max() <= pixels
    assert np.all(((clipped == clean) | (clipped == wild)).all(axis=1))
    amount = np.abs(wild.astype(np.float64) - clean).sum(axis=1)
    for image, kept in zip(amount, changed, strict=True):
        if kept.any() and not kept.all():
            assert image[kept].min() >= image[~kept].max()
    levels = region.quantise(clipped)
    assert (levels != np.rint(clean * 255)).any(axis=1).sum(axis=(1, 2)).max() <= pixels


@settings(max_examples=25, deadline=None)
@given(shape=SHAPES, least=st.floats(0, 0.999), seed=st.integers(0, 2**32 - 1))
def test_a_similarity_is_never_undercut_and_not_given_away(shape: tuple[int, ...], least: float, seed: int) -> None:
    """Before and after rounding to 8 bits, by SSIM's definition; what was outside ends near the bound."""
    rng = np.random.default_rng(seed)
    clean = (rng.integers(0, 256, shape) / 255).astype(np.float32)
    region, wild = SsimRegion(clean=clean, min_ssim=least), (clean + rng.normal(0, 1, shape)).astype(np.float32)
    clipped = region.clip(wild)
    inside = similarity(clean, np.clip(wild, 0, 1)) >= least + 1e-9
    np.testing.assert_array_equal(clipped[inside], np.clip(wild, 0, 1)[inside])
    found = similarity(clean, clipped)
    assert np.all(found >= least - 1e-9)
    np.testing.assert_allclose(found[~inside], least, atol=1e-3)
    assert np.all(similarity(clean, region.quantise(clipped) / 255) >= least - 1e-6)
    assert 0 <= clipped.min() <= clipped.max() <= 1
    np.testing.assert_array_equal(region.clip(clipped), clipped)


def similarity(clean: npt.NDArray[np.floating], images: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """SSIM of each image, (N,)."""
    pairs = zip(clean.astype(np.float64), images.astype(np.float64), strict=True)
    return np.array([ssim_by_definition(one, other) for one, other in pairs])
