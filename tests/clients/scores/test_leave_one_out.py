"""The jackknife's fast formulas against computing everything anew without each image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.correlations import KROCC, PLCC, SROCC, Correlation
from scoreguard_client.scores.distances import energy_score, wasserstein_score
from scoreguard_client.scores.leave_one_out import distances_without_each
from scoreguard_client.scores.scaling import Values

Theirs = Callable[[Values, Values], Any]
CORRELATIONS: list[tuple[Correlation, Theirs]] = [
    (SROCC, stats.spearmanr),
    (KROCC, stats.kendalltau),
    (PLCC, stats.pearsonr),
]
DISTANCES: dict[Callable[[Values, Values], float], Callable[[Values, Values], float]] = {
    wasserstein_score: stats.wasserstein_distance,
    energy_score: stats.energy_distance,
}


def sample(seed: int, images: int, most: int, decimals: int) -> tuple[Values, Values, Clusters]:
    """Scores with ties where they are rounded, of images with one to `most` rows in any order."""
    rng = np.random.default_rng(seed)
    owners = rng.permutation(np.repeat(np.arange(images), rng.integers(1, most + 1, images)))
    clean = rng.beta(5, 3, images)[owners] + rng.normal(0, 0.03, len(owners))
    attacked = clean + rng.normal(0.05, 0.1, len(owners))
    clusters = Clusters([f"image{owner}" for owner in owners])
    return clean.round(decimals), attacked.round(decimals), clusters


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), images=st.integers(2, 25), most=st.integers(1, 6), decimals=st.sampled_from([1, 12]))
def test_what_remains_without_each_image_is_as_if_computed_anew(
    seed: int, images: int, most: int, decimals: int
) -> None:
    """Both distances are scipy's and the rank correlation is scipy's, to 1e-12: ties, and images of several rows."""
    clean, attacked, clusters = sample(seed, images, most, decimals)
    kept = [clusters.without(image) for image in range(images)]
    for signed, reference in DISTANCES.items():
        wanted = [reference(clean[rows], attacked[rows]) for rows in kept]
        # The energy distance is a root: near 0 its square is what is known to the last digits.
        power = 2 if signed is energy_score else 1
        got = distances_without_each(signed, clean, attacked, clusters)
        np.testing.assert_allclose(got**power, np.array(wanted) ** power, rtol=0, atol=1e-12)
    for kind, theirs in CORRELATIONS:
        wanted = [scipys(theirs, clean[rows], attacked[rows]) for rows in kept]
        np.testing.assert_allclose(kind.without_each(clean, attacked, clusters), wanted, rtol=0, atol=1e-12)


def scipys(function: Theirs, first: Values, second: Values) -> float:
    """Scipy's correlation; NaN where it would warn."""
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(function(first, second).statistic)


@pytest.mark.parametrize("signed", list(DISTANCES))
def test_a_thousand_images_agree_too(signed: Callable[[Values, Values], float]) -> None:
    """Sums over many scores lose no more than 1e-12, nor does a scale far from 0 to 1; 20 images are looked at."""
    clean, attacked, clusters = sample(3, 1000, 1, 12)
    for scale, shift in ((1, 0), (200, -67)):
        u, v = scale * clean + shift, scale * attacked + shift
        got = distances_without_each(signed, u, v, clusters)
        for image in range(0, 1000, 50):
            rows = clusters.without(image)
            assert got[image] == pytest.approx(DISTANCES[signed](u[rows], v[rows]), rel=1e-11, abs=1e-12)


@pytest.mark.parametrize(("kind", "theirs"), CORRELATIONS)
def test_correlations_of_more_images_than_are_held_at_once_agree(kind: Correlation, theirs: Theirs) -> None:
    """400 images are more than one block; the last block is a short one."""
    clean, attacked, clusters = sample(5, 400, 3, 2)
    got = kind.without_each(clean, attacked, clusters)
    for image in (0, 1, 131, 262, 399):
        rows = clusters.without(image)
        assert got[image] == pytest.approx(scipys(theirs, clean[rows], attacked[rows]), abs=1e-12)


def test_a_correlation_without_the_image_that_has_all_the_variance_is_not_rounding_noise() -> None:
    """One score a million times as far away as the others: what remains is computed anew; constant, it is NaN."""
    rng = np.random.default_rng(7)
    first, second = rng.normal(0, 1, 30), rng.normal(0, 1, 30)
    first[3] = 1e7
    clusters = Clusters([str(number) for number in range(30)])
    rows = clusters.without(3)
    got = PLCC.without_each(first, second, clusters)[3]
    assert got == pytest.approx(stats.pearsonr(first[rows], second[rows]).statistic, abs=1e-12)
    first[rows] = 0.1
    assert np.isnan(PLCC.without_each(first, second, clusters)).tolist() == [number == 3 for number in range(30)]


def test_a_distance_of_ones_own_is_computed_anew() -> None:
    """Only the two of the studies have formulas."""
    clean, attacked, clusters = sample(1, 6, 2, 12)
    got = distances_without_each(lambda u, v: float(v.max() - u.min()), clean, attacked, clusters)
    kept = [clusters.without(image) for image in range(6)]
    assert got.tolist() == [abs(attacked[rows].max() - clean[rows].min()) for rows in kept]
