"""Parameters against their ranges, and images against the steps that are to read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreguard.chain.resolve import ResolvedStep, resolve_step
from scoreguard.chain.size_limits import check_fits, check_readable
from scoreguard.v1.errors import ParameterError, TooSmallError
from scoreguard.v1.manifest_pb2 import DefenceArtifact, DefenceFacts, DefenceVariant, MetricFacts, ParameterSpec
from scoreguard.v1.scoring_pb2 import DefenceStep

pytestmark = pytest.mark.base

KERNELS = (3.0, 5.0, 9.0)
NAMES = ("kernel", "first")


def filter_(*variants: tuple[float, float]) -> DefenceArtifact:
    """A filter with a kernel and a switch, both structural, a radius in whole pixels and a strength."""
    parameters = [
        ParameterSpec(
            name="kernel", default_value=3, minimum=3, maximum=9, structural_choices=KERNELS, at_most_side=True
        ),
        ParameterSpec(name="first", default_value=1, maximum=1, structural_choices=(0, 1)),
        ParameterSpec(name="radius", default_value=2, minimum=2, maximum=50, integer=True, at_most_side=True),
        ParameterSpec(name="strength", default_value=40, maximum=100),
    ]
    grid = variants or tuple((kernel, first) for kernel in KERNELS for first in (0.0, 1.0))
    return DefenceArtifact(
        facts=DefenceFacts(name="filter", parameters=parameters, minimum_size=2),
        variants=[DefenceVariant(structural=dict(zip(NAMES, values, strict=True))) for values in grid],
    )


def resolved(**parameters: float) -> ResolvedStep:
    """A step of that filter."""
    return resolve_step(DefenceStep(name="filter", parameters=parameters), filter_())


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"kernel": 4}, r"filter:kernel=4 \(step 3\) is out of range: one of 3, 5, 9"),
        ({"kernel": math.nan}, "one of 3, 5, 9"),
        ({"radius": 51}, r"filter:radius=51 \(step 3\) is out of range: a whole number, 2 to 50"),
        ({"radius": 2.5}, "a whole number, 2 to 50"),
        ({"strength": math.nan}, "0 to 100"),
        ({"strength": math.inf}, "0 to 100"),
        ({"strength": -0.1}, "0 to 100"),
        ({"strenght": 1}, r"defence 'filter' \(step 3\) has no parameter 'strenght': it takes strength"),
        ({"zzz": 1}, "it takes kernel, first, radius, strength"),
    ],
)
def test_a_value_that_is_not_allowed_says_what_is(parameters: dict[str, float], problem: str) -> None:
    """The step, the parameter and the values that would do, in one line."""
    with pytest.raises(ParameterError, match=problem) as caught:
        resolve_step(DefenceStep(name="filter", parameters=parameters), filter_(), 2)
    assert (caught.value.defence, caught.value.parameter) == ("filter", next(iter(parameters)))
    assert "\n" not in str(caught.value)


def test_without_a_chain_no_step_is_counted() -> None:
    """A step that stands alone has no place."""
    with pytest.raises(ParameterError, match="filter:kernel=4 is out of range"):
        resolved(kernel=4)


def test_a_defence_without_parameters_says_so() -> None:
    """There is nothing to choose from."""
    artifact = DefenceArtifact(facts=DefenceFacts(name="flip"), variants=[DefenceVariant()])
    with pytest.raises(ParameterError, match="has no parameter 'kernel': it takes none"):
        resolve_step(DefenceStep(name="flip", parameters={"kernel": 3}), artifact)


@pytest.mark.parametrize(
    ("parameters", "parameter"),
    [({"kernel": 9}, "kernel"), ({"first": 0}, "first"), ({"kernel": 9, "first": 0}, "kernel")],
)
def test_a_variant_that_was_not_exported_is_refused(parameters: dict[str, float], parameter: str) -> None:
    """An allowed value whose weights were not at hand at the build: the message lists what the archive holds."""
    step = DefenceStep(name="filter", parameters=parameters)
    with pytest.raises(ParameterError, match="is not in this archive, which holds filter:first=1:kernel=3") as caught:
        resolve_step(step, filter_((3.0, 1.0)))
    assert caught.value.parameter == parameter


@pytest.mark.parametrize(
    ("parameters", "size", "problem"),
    [
        ({"kernel": 9}, (8, 20), "filter:kernel=9 (step 2) is larger than the image, 20 x 8 there: use 3 or 5"),
        ({"kernel": 9}, (20, 4), "4 x 20 there: use 3"),
        ({"kernel": 9}, (5, 5), "5 x 5 there: use 3 or 5"),
        ({"kernel": 3}, (2, 2), "2 x 2 there: send an image of at least 3 x 3 pixels"),
        (
            {"radius": 30},
            (180, 29),
            "filter:radius=30 (step 2) is larger than the image, 29 x 180 there: use at most 29",
        ),
    ],
)
def test_a_length_larger_than_the_image_is_refused(
    parameters: dict[str, float], size: tuple[int, int], problem: str
) -> None:
    """Width comes first, as everywhere; the advice is a value that fits, or an image that does."""
    with pytest.raises(ParameterError) as caught:
        check_fits(resolved(**parameters), size, 1)
    assert problem in str(caught.value)
    assert caught.value.parameter == next(iter(parameters))


def test_an_image_below_the_minimum_is_too_small() -> None:
    """The defence and its step, or the metric; the bound itself is enough."""
    with pytest.raises(TooSmallError, match=r"defence 'filter' \(step 1\) needs at least 2 x 2 .* is 1 x 9 there"):
        check_fits(resolved(), (9, 1), 0)
    metric = MetricFacts(name="niqe", minimum_size=96)
    check_readable(metric, (96, 96))
    with pytest.raises(TooSmallError, match="metric 'niqe' needs at least 96 x 96 pixels, the image is 95 x 200"):
        check_readable(metric, (200, 95))


@given(st.sampled_from(KERNELS), st.integers(2, 50), st.integers(2, 60), st.integers(2, 60))
def test_what_passes_is_what_fits(kernel: float, radius: int, height: int, width: int) -> None:
    """A step is refused where one of its two lengths is larger than the shorter side, and only there."""
    step, fits = resolved(kernel=kernel, radius=radius, strength=100), max(kernel, radius) <= min(height, width)
    if fits:
        check_fits(step, (height, width), 0)
    else:
        with pytest.raises(ParameterError, match="is larger than the image"):
            check_fits(step, (height, width), 0)
