"""What may be smoothed, and the noise that a seed stands for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from scoreguard.chain.randomness import draw
from scoreguard.chain.sampling import step_noise
from scoreguard.chain.smoothing import MAX_SAMPLES, Smoothing, noisy_copies, noisy_copy
from scoreguard.v1 import scoring_pb2
from scoreguard.v1.errors import SmoothingError
from scoreguard.v1.manifest_pb2 import DISTRIBUTION_STANDARD_NORMAL, RANDOM_SHAPE_IMAGE, RandomInput

GREY = np.full((3, 16, 18), 0.5, np.float32)


def test_zero_is_the_default_on_the_wire() -> None:
    """An empty message is the setting of the public benchmark; what is set comes through as it is."""
    default = Smoothing.from_message(scoring_pb2.Smoothing())
    assert default == Smoothing(samples=1000, sigma=0.12, radius=0.05, confidence=0.999) == Smoothing()
    other = Smoothing(samples=77, sigma=0.25, radius=0.5, confidence=0.9)
    assert Smoothing.from_message(other.to_message()) == other
    assert Smoothing.from_message(scoring_pb2.Smoothing(sigma=0.25)) == Smoothing(sigma=0.25)


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"samples": 0}, "samples", "whole number from 1 to 100000"),
    ({"samples": MAX_SAMPLES + 1}, "samples", "whole number from 1 to 100000"),
    ({"samples": 99.5}, "samples", "whole number"),
    ({"samples": math.nan}, "samples", "whole number"),
    ({"samples": 16}, "samples", "at least 17"),
    ({"samples": 1000, "radius": 0.4}, "samples", "at least 16097"),
    ({"sigma": -0.1}, "sigma", "above 0"),
    ({"sigma": 0.0}, "sigma", "above 0"),
    ({"sigma": 1.5}, "sigma", "at most 1"),
    ({"sigma": math.nan}, "sigma", "nan"),
    ({"sigma": 5e-324}, "radius", "more than 100000 samples"),
    ({"radius": 0.0}, "radius", "above 0"),
    ({"radius": math.inf}, "radius", "finite"),
    ({"radius": math.nan}, "radius", "nan"),
    ({"radius": 1.0}, "radius", "more than 100000 samples"),
    ({"confidence": 1.0}, "confidence", "below 1"),
    ({"confidence": 0.4}, "confidence", "from 0.5"),
    ({"confidence": math.nan}, "confidence", "nan"),
]


@pytest.mark.parametrize(("changes", "option", "message"), BAD, ids=str)
def test_what_no_certificate_can_come_of_is_refused(changes: dict[str, Any], option: str, message: str) -> None:
    """One line that names the option and what would do."""
    with pytest.raises(SmoothingError, match=message) as caught:
        Smoothing(**changes).check()
    assert caught.value.option == option
    assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=40)
@given(st.floats(0.01, 0.5), st.floats(0.05, 0.5), st.floats(0.5, 0.9999))
def test_the_smallest_number_of_samples_is_the_smallest(radius: float, sigma: float, confidence: float) -> None:
    """With one fewer, even the largest score is too often below the quantile (scipy's normal law)."""
    least = Smoothing(radius=radius, sigma=sigma, confidence=confidence).least_samples()
    log_below, log_allowed = stats.norm.logcdf(radius / sigma), math.log1p(-confidence)
    assert least * log_below <= log_allowed * (1 - 1e-9)
    assert (least - 1) * log_below > log_allowed * (1 + 1e-9)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**64 - 1), st.integers(0, MAX_SAMPLES - 1))
def test_a_copy_repeats_with_its_seed_and_differs_with_any_other(seed: int, place: int) -> None:
    """The same numbers whenever they are drawn; other ones for the next seed and the next copy, up to the last bit."""
    copy, own_seed = noisy_copy(GREY, 0.1, seed, place)
    again, own_again = noisy_copy(GREY, 0.1, seed, place)
    np.testing.assert_array_equal(copy, again)
    assert own_seed == own_again
    for other, other_seed in (noisy_copy(GREY, 0.1, seed ^ 1, place), noisy_copy(GREY, 0.1, seed, place + 1)):
        assert own_seed != other_seed
        assert np.mean(copy == other) < 0.01


def test_copies_made_together_are_those_made_alone() -> None:
    """How many run at once changes nothing."""
    copies, seeds = noisy_copies(GREY, 0.1, 5, range(3, 6))
    for index, place in enumerate(range(3, 6)):
        alone, seed = noisy_copy(GREY, 0.1, 5, place)
        np.testing.assert_array_equal(copies[index], alone)
        assert seeds[index] == seed
    assert all(type(seed) is int and 0 <= seed < 2**64 for seed in seeds)


def test_the_noise_has_its_law_and_is_clipped() -> None:
    """Normal with the standard deviation on grey; black and white keep their half of it."""
    copies, _ = noisy_copies(GREY, 0.1, 1, range(40))
    assert stats.kstest((copies.ravel() - 0.5) / 0.1, "norm").pvalue > 1e-3
    black, _ = noisy_copies(GREY * 0, 0.1, 1, range(40))
    assert black.min() == 0 and abs(np.mean(black == 0) - 0.5) < 0.01
    white, _ = noisy_copies(GREY * 2, 0.1, 1, range(40))
    assert white.max() == 1 and white.dtype == np.float32


@pytest.mark.parametrize("seed", [0, 2**63, 2**64 - 1])
def test_the_noise_is_none_that_a_defence_draws(seed: int) -> None:
    """Neither random defences nor samplers share a number with it, in whatever place of the chain."""
    ours = {float(value) for place in range(3) for value in (noisy_copy(GREY, 0.1, seed, place)[0] - 0.5).ravel()}
    spec = RandomInput(name="noise", distribution=DISTRIBUTION_STANDARD_NORMAL, shape=RANDOM_SHAPE_IMAGE)
    shape = (1, *GREY.shape)
    for step in (0, 1, 255):
        drawn = [draw([spec], shape, [seed], step)[0], *(step_noise(shape, [seed], step, t) for t in (0, 1))]
        for numbers in drawn:
            theirs = {float(value) for value in (np.float32(0.1) * numbers + np.float32(0.5) - np.float32(0.5)).ravel()}
            assert len(ours & theirs) < len(theirs) // 10
