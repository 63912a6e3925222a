"""What can be wrong with the scores of a metric, and what to write instead: the words of a build and of the testers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from scoreguard_export.metrics.base import MetricFacts, RangeBasis

SMALLEST_ADVICE: Final = "raise minimum_size in the facts, or pad inside the module"
SHAPE_ADVICE: Final = (
    "return one number for each image, for example by mean(dim=(1, 2, 3)), or by [:, 0] where an axis of one is left"
)
FINITE_ADVICE: Final = "add a small constant to what is divided by, or taken a root or a logarithm of"
RANGE_ADVICE: Final = "widen score_range in the facts, or scale the score"
BATCH_ADVICE: Final = "reduce over dim=(1, 2, 3), never over the batch"
FINITE_GRADIENT_ADVICE: Final = (
    "keep powers, roots, logarithms and divisions away from 0, for example by clamp(min=1e-6) before them"
)
SOME_GRADIENT_ADVICE: Final = (
    "let rounding pass the gradient straight through, or state differentiability=BPDA_IDENTITY for a defence: "
    "a vanishing gradient looks like robustness and is none"
)
_ROUNDING: Final = 1e-3
"""Share of the range's width by which a score may leave it on an ordinary image, for rounding."""
_BEYOND: Final = 0.5
"""The same for a range that is no hard bound: the scale of ratings, or what some images were measured to score. A wrong
normalisation leaves it by more."""


def form_finding(dtype: str, shape: Sequence[int], images: int, of: str = "") -> str:
    """Say what is wrong with the type or the shape of scores; empty for float32 (N,).

    Args:
        dtype: Type of the values, or of what was returned instead of a tensor.
        shape: Of the output.
        images: Their number, N.
        of: ` of spaq`, to name the module; empty if there is but one.
    """
    if dtype != "torch.float32":
        return f"the output{of} is {dtype}, not torch.float32,"
    return "" if tuple(shape) == (images,) else f"the output{of} has the shape {tuple(shape)}"


def range_finding(low: float, high: float, facts: MetricFacts) -> str:
    """Say that scores of ordinary images, from `low` to `high`, leave the declared range; empty if they do not.

    Args:
        low: The lowest score.
        high: The highest one.
        facts: The range, and how it was obtained: only a hard bound holds for every image.
    """
    allowed = facts.score_range
    slack = allowed.width * (_ROUNDING if facts.range_basis is RangeBasis.BOUNDS else _BEYOND)
    if allowed.low - slack <= low <= high <= allowed.high + slack:
        return ""
    return f"scores reach {low:.4g} to {high:.4g}, and the facts say {allowed.low:g} to {allowed.high:g},"
