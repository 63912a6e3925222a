"""Bootstrap intervals: scipy's where images have one row each, wider where rows depend on each other."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from scoreguard_client.scores.bootstrap import Rows, clustered_bootstrap


def test_one_row_per_image_gives_scipys_percentile_interval() -> None:
    """Same method, other random numbers: the ends agree within the Monte-Carlo error."""
    values = np.random.default_rng(0).normal(3, 2, 60)
    images = [f"image{number}" for number in range(60)]
    (ours,) = clustered_bootstrap(lambda rows: [values[rows].mean()], images, resamples=5000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=5000, method="percentile", rng=1).confidence_interval
    assert ours.value == values.mean()
    assert ours.low == pytest.approx(theirs.low, abs=0.03)
    assert ours.high == pytest.approx(theirs.high, abs=0.03)


def test_repeating_the_rows_of_an_image_does_not_make_the_interval_narrower() -> None:
    """Twenty copies of each row hold no more knowledge than one; intervals over rows would shrink by sqrt(20)."""
    values = np.random.default_rng(1).normal(size=30)
    images = [f"image{number}" for number in range(30)]
    (single,) = clustered_bootstrap(lambda rows: [values[rows].mean()], images)
    repeated = np.repeat(values, 20)
    (copied,) = clustered_bootstrap(lambda rows: [repeated[rows].mean()], list(np.repeat(images, 20)))
    assert copied.high - copied.low == pytest.approx(single.high - single.low, rel=1e-9)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Over 200 samples of 40 images with two dependent rows each, 95 % intervals hold the mean in 88 to 99 %."""
    rng, covered = np.random.default_rng(2), 0
    images = [f"image{number // 2}" for number in range(80)]
    for seed in range(200):
        values = np.repeat(rng.normal(size=40), 2) + 0.3 * rng.normal(size=80)
        (estimate,) = clustered_bootstrap(lambda rows, v=values: [v[rows].mean()], images, resamples=300, seed=seed)  # type: ignore[misc]
        covered += estimate.low <= 0 <= estimate.high
    assert 0.88 <= covered / 200 <= 0.99


def test_one_image_has_no_interval_and_undefined_resamples_are_left_out() -> None:
    """A statistic that is NaN for some resamples still has an interval from the others."""
    (alone,) = clustered_bootstrap(lambda rows: [float(len(rows))], ["a", "a"])
    assert (alone.value, np.isnan(alone.low), np.isnan(alone.high)) == (2, True, True)

    def undefined_for_constant_choices(rows: Rows) -> list[float]:
        return [float(np.mean(rows)) if len(set(rows.tolist())) > 1 else float("nan")]

    (some,) = clustered_bootstrap(undefined_for_constant_choices, ["a", "b", "c"])
    assert some.low < some.value < some.high


def test_the_seed_decides_the_resamples() -> None:
    """Same seed, same interval."""
    values = np.random.default_rng(3).normal(size=12)
    images = [str(number) for number in range(12)]

    def interval(seed: int) -> tuple[float, float]:
        (estimate,) = clustered_bootstrap(lambda rows: [values[rows].mean()], images, resamples=100, seed=seed)
        return estimate.low, estimate.high

    assert interval(0) == interval(0)
    assert interval(0) != interval(1)
