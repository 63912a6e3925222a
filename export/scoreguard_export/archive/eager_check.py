"""Check a metric itself before it is exported: what is wrong with its scores would be found in its graphs, said worse.

It runs on the golden image and at three sizes: the smallest, an odd one, and a larger one. `scoreguard_export.testing`
has these rules and others, at many more sizes and on images that are hard because they are plain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, cast

import torch
from torch import Tensor

from scoreguard.support.rules import Rule, first_breach
from scoreguard_export.archive import score_findings as advice
from scoreguard_export.archive.golden import golden_image
from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.archive.score_findings import form_finding, range_finding
from scoreguard_export.errors import RuleBrokenError
from scoreguard_export.metrics.base import Metric

_ROUNDING: Final = 1e-6
"""Share of the range's width by which the score of an image may differ beside others. A matrix product sums one row in
another order than three; the score is the same to the last bit where it does not matter (`metrics/linear.py`)."""
_SEED: Final = 7


@dataclass(frozen=True, kw_only=True)
class _Run:
    """The images of one run, (N, 3, H, W) in [0, 1], and what the metric gave."""

    where: str
    images: Tensor
    output: object

    @property
    def scores(self) -> Tensor:
        """The output, once its form is known to be right."""
        return cast(Tensor, self.output)


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """A metric and its runs; it runs on the first use."""

    metric: Metric

    @cached_property
    def runs(self) -> tuple[_Run, ...]:
        least = self.metric.facts.minimum_size
        golden = golden_image(least).image
        images = {f"the golden image, 3×{golden.shape[2]}×{golden.shape[3]}": golden}
        for batch, height, width in ((1, least, least), (3, (least + 1) | 1, least + 21), (2, least + 68, least + 43)):
            images[f"{batch}×3×{height}×{width}"] = photographs(batch, height, width, _SEED)
        with torch.no_grad():
            return tuple(_Run(where=w, images=x, output=self.metric(x.clone())) for w, x in images.items())

    @cached_property
    def slopes(self) -> dict[str, Tensor]:
        """The gradients of the scores of two runs: of the golden image, and of a batch."""
        return {run.where: self._slope(run.images) for run in (self.runs[0], self.runs[2])}

    def _slope(self, images: Tensor) -> Tensor:
        varied = images.clone().requires_grad_()
        total = self.metric(varied).sum()
        return torch.autograd.grad(total, varied)[0] if total.requires_grad else torch.zeros_like(images)


def check_before_export(metric: Metric) -> None:
    """Run a metric on the golden image and at three sizes; it is in evaluation mode, on the CPU.

    Raises:
        RuleBrokenError: its scores have another form than (N,) in float32, are not finite, leave the declared range,
            depend on the images beside them, or have a gradient that is not finite or 0 everywhere; the message says
            what to write instead.
    """
    if breach := first_breach(BEFORE_EXPORT, _Trial(metric=metric)):
        raise RuleBrokenError(metric.facts.name, breach) from breach.cause


def _fails(trial: _Trial) -> Iterator[str]:
    if not trial.runs:
        yield "it ran on nothing"


def _form(trial: _Trial) -> Iterator[str]:
    for run in trial.runs:
        tensor = run.output if isinstance(run.output, Tensor) else None
        dtype = type(run.output).__name__ if tensor is None else str(tensor.dtype)
        if found := form_finding(dtype, () if tensor is None else tensor.shape, len(run.images)):
            yield f"{found} at {run.where}"


def _finite(trial: _Trial) -> Iterator[str]:
    yield from (f"the score is not finite at {run.where}" for run in trial.runs if not run.scores.isfinite().all())


def _range(trial: _Trial) -> Iterator[str]:
    facts = trial.metric.facts
    for run in trial.runs:
        if found := range_finding(float(run.scores.min()), float(run.scores.max()), facts):
            yield f"{found} at {run.where}"


def _batch(trial: _Trial) -> Iterator[str]:
    allowed = _ROUNDING * trial.metric.facts.score_range.width
    for run in (run for run in trial.runs if len(run.images) > 1):
        with torch.no_grad():
            for index in (0, len(run.images) - 1):
                difference = float((trial.metric(run.images[index : index + 1]) - run.scores[index]).abs().max())
                if not difference <= allowed:
                    found = f"image {index} alone differs by {difference:.3g} from itself in a batch"
                    yield f"{found} at {run.where}, allowed {allowed:.3g}"


def _finite_gradient(trial: _Trial) -> Iterator[str]:
    for where, slope in trial.slopes.items():
        if not slope.isfinite().all():
            yield f"the gradient is not finite at {where}"


def _some_gradient(trial: _Trial) -> Iterator[str]:
    for where, slope in trial.slopes.items():
        if not bool((slope.flatten(1) != 0).any(dim=1).all()):
            yield f"the gradient is 0 everywhere at {where}"


BEFORE_EXPORT: Final[tuple[Rule[_Trial], ...]] = (
    Rule(
        name="runs",
        statement="The metric runs on the golden image and at three sizes",
        advice=advice.SMALLEST_ADVICE,
        findings=_fails,
    ),
    Rule(
        name="output-shape",
        statement="Images (N, 3, H, W) give float32 scores (N,)",
        advice=advice.SHAPE_ADVICE,
        findings=_form,
    ),
    Rule(
        name="finite-score",
        statement="Every score is finite",
        advice=advice.FINITE_ADVICE,
        findings=_finite,
    ),
    Rule(
        name="score-range",
        statement="Scores lie in the declared range",
        advice=advice.RANGE_ADVICE,
        findings=_range,
    ),
    Rule(
        name="batch-independence",
        statement="An image has its score whatever is beside it",
        advice=advice.BATCH_ADVICE,
        findings=_batch,
    ),
    Rule(
        name="finite-gradient",
        statement="The gradient is finite",
        advice=advice.FINITE_GRADIENT_ADVICE,
        findings=_finite_gradient,
    ),
    Rule(
        name="some-gradient",
        statement="The gradient is not 0 everywhere",
        advice=advice.SOME_GRADIENT_ADVICE,
        findings=_some_gradient,
    ),
)
"""What is checked, in this order."""
