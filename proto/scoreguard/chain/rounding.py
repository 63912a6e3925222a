"""The derivative to use for rounding in gradients; its own derivative is zero almost everywhere.

- `straight-through`: 1, as in the exported graphs (Bengio et al. 2013). It ignores the distance to the next threshold.
- `cubic`: 3 (x - round(x))^2, that of round(x) + (x - round(x))^3 (Shin and Song, "JPEG-resistant adversarial images",
  2017): 3/4 at the thresholds and close to 0 in the middle between two, so a gradient moves the numbers that can cross
  one. With exactly 0 the gradient would vanish if all numbers were in the middle, so it is at least `LEAST_SLOPE`.

In both cases the value of a step is that of its graph, to the last bit; only the backward pass differs. The rule
applies to the coefficients of `jpeg` and to the levels of `quantise`; other rounding inside `jpeg` is straight-through.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import numpy as np

from scoreguard.chain.jpeg import Codec, Floats, cubic_slopes
from scoreguard.v1 import scoring_pb2
from scoreguard.v1.codec import TOP
from scoreguard.v1.spec import Step

JPEG: Final = "jpeg"
SUBSAMPLINGS: Final = {"4:2:0": 420.0, "4:4:4": 444.0}
"""Chroma subsamplings of `jpeg`, by their names in chains."""
QUANTISE: Final = "quantise"


class Rounding(StrEnum):
    """The derivative to use for rounding."""

    STRAIGHT_THROUGH = "straight-through"
    """The derivative is 1."""
    CUBIC = "cubic"
    """The derivative is 3 (x - round(x))^2, at least `scoreguard.chain.jpeg.LEAST_SLOPE`."""

    def to_message(self) -> scoring_pb2.Rounding.ValueType:
        """Return the wire form."""
        return scoring_pb2.ROUNDING_CUBIC if self is Rounding.CUBIC else scoring_pb2.ROUNDING_STRAIGHT_THROUGH

    @staticmethod
    def from_message(rounding: int) -> Rounding:
        """Read the wire form.

        Raises:
            ValueError: this version does not know the number.
        """
        known: dict[int, Rounding] = {scoring_pb2.ROUNDING_UNSPECIFIED: Rounding.STRAIGHT_THROUGH}
        known.update((kind.to_message(), kind) for kind in Rounding)
        if rounding not in known:
            raise ValueError(f"no rounding {rounding}; there are {', '.join(f'{k} ({v})' for k, v in known.items())}")
        return known[rounding]


def rounds(step: Step) -> bool:
    """Whether a step rounds its input so coarsely that the derivative matters."""
    return step.name in (JPEG, QUANTISE)


def any_rounds(chain: Iterable[Step]) -> bool:
    """Whether any step of a chain rounds coarsely."""
    return any(rounds(step) for step in chain)


def codec_of(step: Step) -> Codec:
    """Return the codec of a `jpeg` step with every parameter filled in."""
    return Codec(step.numbers["quality"], SUBSAMPLINGS[step.choices["subsampling"]])


def intervals_of(step: Step) -> float:
    """Return the number of intervals between the levels of a `quantise` step with every parameter filled in."""
    return float(np.clip(np.rint(step.numbers["levels"]), 2, TOP + 1)) - 1


def pulled_back(step: Step, images: Floats, upstream: Floats) -> Floats:
    """Return the derivative with respect to a step's images, by the cubic rule, from that with respect to its result.

    Args:
        step: `jpeg` or `quantise`, every parameter filled in.
        images: the input of the step, (N, 3, H, W).
        upstream: the derivative with respect to its output, (N, 3, H, W).
    """
    if step.name == QUANTISE:
        (slope,) = cubic_slopes([images * np.float32(intervals_of(step))])
        return upstream * slope
    codec = codec_of(step)
    luminance, blueness, redness = cubic_slopes(
        codec.coefficients(np.rint(np.clip(images, 0, 1) * np.float32(TOP)).astype(np.uint8))
    )
    return codec.pulled_back(upstream, (luminance, blueness, redness))
