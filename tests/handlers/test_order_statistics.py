"""The ranks of the certificate, against exact sums, scipy's binomial law, and laws whose quantiles are known."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from scoreguard.chain.smoothing import Smoothing
from scoreguard.v1.errors import SmoothingError
from scoreguard_handlers.worker.order_statistics import certified_ranks

settings_that_work = st.builds(
    Smoothing,
    samples=st.integers(300, 3000),
    sigma=st.floats(0.1, 1),
    radius=st.floats(0.001, 0.15),
    confidence=st.floats(0.5, 0.999),
).filter(lambda smoothing: smoothing.least_samples() <= smoothing.samples)


def exact_tail(count: int, trials: int, probability: Fraction) -> Fraction:
    """P(Binomial ≥ count), in whole numbers."""
    chances = (
        math.comb(trials, k) * probability**k * (1 - probability) ** (trials - k) for k in range(count, trials + 1)
    )
    return sum(chances, Fraction(0))


def test_the_public_benchmarks_ranks_come_out() -> None:
    """293 and 708 of 1000 at σ 0.12, radius 0.05, confidence 0.999 of each bound."""
    assert certified_ranks(Smoothing()) == (293, 708)


@pytest.mark.parametrize("samples", [17, 18, 40, 101])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.999])
def test_the_upper_rank_is_the_smallest_that_is_sure_enough(samples: int, confidence: float) -> None:
    """Exact sums: the rank keeps the confidence, the one below it does not."""
    _, upper = certified_ranks(Smoothing(samples=samples, confidence=confidence))
    below = Fraction(float(stats.norm.cdf(0.05 / 0.12)))
    assert exact_tail(upper, samples, below) <= 1 - Fraction(confidence)
    assert exact_tail(upper - 1, samples, below) > 1 - Fraction(confidence)


@settings(deadline=None, max_examples=40)
@given(settings_that_work)
def test_each_rank_keeps_its_confidence(smoothing: Smoothing) -> None:
    """By scipy: the binomial law of the number of scores below the one quantile, and up to the other."""
    lower, upper = certified_ranks(smoothing)
    shift = smoothing.radius / smoothing.sigma
    assert stats.binom.cdf(upper - 1, smoothing.samples, stats.norm.cdf(shift)) >= smoothing.confidence - 1e-9
    assert stats.binom.sf(lower - 1, smoothing.samples, stats.norm.cdf(-shift)) >= smoothing.confidence - 1e-9
    assert stats.binom.cdf(upper - 2, smoothing.samples, stats.norm.cdf(shift)) < smoothing.confidence + 1e-9


@settings(deadline=None, max_examples=40)
@given(settings_that_work)
def test_the_bounds_contain_the_median(smoothing: Smoothing) -> None:
    """Of an odd and of an even number of scores."""
    lower, upper = certified_ranks(smoothing)
    assert 1 <= lower <= (smoothing.samples + 1) // 2
    assert smoothing.samples // 2 + 1 <= upper <= smoothing.samples


@settings(deadline=None, max_examples=40)
@given(settings_that_work, st.floats(0.1, 1))
def test_the_bounds_grow_with_radius_and_confidence(smoothing: Smoothing, factor: float) -> None:
    """A smaller ball or less confidence never has wider bounds."""
    lower, upper = certified_ranks(smoothing)
    for smaller in (
        Smoothing(samples=smoothing.samples, sigma=smoothing.sigma, radius=smoothing.radius * factor,
                  confidence=smoothing.confidence),
        Smoothing(samples=smoothing.samples, sigma=smoothing.sigma, radius=smoothing.radius,
                  confidence=0.5 + (smoothing.confidence - 0.5) * factor),
    ):  # fmt: skip
        lower_there, upper_there = certified_ranks(smaller)
        assert lower <= lower_there <= upper_there <= upper


@pytest.mark.parametrize("law", ["normal", "steps"])
def test_the_bounds_fail_no_more_often_than_they_say(law: str) -> None:
    """Twenty thousand drawn samples of a law with known quantiles, one with ties among them.

    At confidence 0.9 each bound may fail in a tenth of the cases. Where the law has no steps the ranks are as tight as
    whole numbers allow, so it fails nearly that often: a rank less on either side would be seen.
    """
    smoothing = Smoothing(samples=100, confidence=0.9)
    lower, upper = certified_ranks(smoothing)
    low, high = stats.norm.cdf([-0.05 / 0.12, 0.05 / 0.12])
    exact = float(stats.binom.sf(upper - 1, 100, high))
    scores = np.random.default_rng(1).standard_normal((20_000, 100))
    bounds = stats.norm.ppf([low, high])
    if law == "steps":
        scores, bounds = np.floor(scores), np.floor(bounds)
    scores.sort(axis=1)
    for failures in (scores[:, lower - 1] > bounds[0], scores[:, upper - 1] < bounds[1]):
        rate = failures.mean()
        assert rate <= 0.1
        assert law == "steps" or rate == pytest.approx(exact, abs=0.01)
    both = (scores[:, lower - 1] <= bounds[0]) & (scores[:, upper - 1] >= bounds[1])
    assert both.mean() >= 2 * 0.9 - 1


def test_too_few_samples_are_refused() -> None:
    """Seventeen do, and then the bounds are the smallest and the largest score; sixteen do not."""
    assert certified_ranks(Smoothing(samples=17)) == (1, 17)
    with pytest.raises(SmoothingError, match="at least 17"):
        certified_ranks(Smoothing(samples=16))


def test_the_most_samples_are_no_problem() -> None:
    """Against scipy at a hundred thousand."""
    lower, upper = certified_ranks(Smoothing(samples=100_000))
    assert upper == 1 + int(stats.binom.isf(1 - 0.999, 100_000, stats.norm.cdf(0.05 / 0.12)))
    assert lower == 100_001 - upper
