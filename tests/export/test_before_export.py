"""A metric that is wrong itself is refused before it is exported, in one line that says what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from export_samples import metric_facts
from torch import Tensor
from torch.nn import functional

from scoreguard_export.archive.eager_check import check_before_export
from scoreguard_export.cli import main
from scoreguard_export.errors import RuleBrokenError
from scoreguard_export.metrics.base import Metric, RangeBasis, ScoreRange
from scoreguard_export.metrics.catalogue import load_metric
from scoreguard_export.metrics.lite import Lite

Scores = Callable[[Tensor], Tensor]


def brightness(image: Tensor) -> Tensor:
    """Ten times the mean of each image: right in every way."""
    return 10.0 * image.mean(dim=(1, 2, 3))


def deviation(image: Tensor) -> Tensor:
    """The root of a variance that is 0 where nothing varies: its derivative is infinite there."""
    return 10.0 * (image - image).square().mean(dim=(1, 2, 3)).sqrt()


WRONG: dict[str, tuple[Scores, str, str]] = {
    "a column": (lambda image: brightness(image)[:, None], "output-shape", "the shape (1, 1) at the golden image"),
    "one number": (lambda image: brightness(image).mean(), "output-shape", "the shape ()"),
    "doubles": (lambda image: brightness(image).double(), "output-shape", "is torch.float64, not torch.float32"),
    "a pair": (lambda image: (brightness(image), image), "output-shape", "is tuple"),  # type: ignore[dict-item, return-value]
    "too large patches": (lambda image: functional.unfold(image, 200).mean(dim=(1, 2)), "runs", "it raises"),
    "no number": (lambda image: brightness(image) / 0.0 - brightness(image) / 0.0, "finite-score", "not finite at"),
    "another scale": (lambda image: 30.0 + brightness(image), "score-range", "and the facts say 0 to 10"),
    "its neighbours": (
        lambda image: 0.5 * brightness(image) + 0.5 * brightness(image).mean(),
        "batch-independence",
        "image 0 alone differs by",
    ),
    "an infinite slope": (lambda image: brightness(image) + deviation(image), "finite-gradient", "is not finite"),
    "steps": (lambda image: brightness(image).round(), "some-gradient", "0 everywhere at the golden image"),
    "no derivative": (lambda image: brightness(image.detach()), "some-gradient", "0 everywhere"),
}
INSTEAD = {
    "output-shape": "mean(dim=(1, 2, 3))",
    "runs": "raise minimum_size",
    "finite-score": "add a small constant",
    "score-range": "widen score_range",
    "batch-independence": "never over the batch",
    "finite-gradient": "clamp(min=1e-6)",
    "some-gradient": "let rounding pass",
}


def metric_of(scores: Scores) -> Metric:
    """A metric on 0 to 10 of a function."""

    class Given(Metric):
        facts = replace(metric_facts("given"), score_range=ScoreRange(low=0.0, high=10.0))

        def forward(self, image: Tensor) -> Tensor:
            return scores(image)

    return Given().eval()


def test_a_metric_that_is_right_passes() -> None:
    """So do those that need no weights of others."""
    check_before_export(metric_of(brightness))
    for name in ("lite", "niqe", "piqe"):
        check_before_export(load_metric(name))


@pytest.mark.parametrize("fault", WRONG)
def test_what_is_wrong_is_said_with_what_to_write(fault: str) -> None:
    """The rule, the images, and the way to mend it, in one line."""
    scores, rule, found = WRONG[fault]
    with pytest.raises(RuleBrokenError) as caught:
        check_before_export(metric_of(scores))
    message = str(caught.value)
    assert caught.value.rule == rule
    assert "\n" not in message
    assert found in message and INSTEAD[rule] in message


def test_rounding_between_batches_is_no_dependence() -> None:
    """A matrix product sums one row in another order than three: a millionth of the range is allowed."""
    for factor, wrong in ((0.5, False), (2.0, True)):
        shift = factor * 1e-6 * 10.0
        metric = metric_of(lambda image, by=shift: brightness(image) + by * (len(image) > 1))  # type: ignore[misc]
        if wrong:
            with pytest.raises(RuleBrokenError, match="image 0 alone differs by"):
                check_before_export(metric)
        else:
            check_before_export(metric)


@pytest.mark.parametrize(("basis", "wrong"), [(RangeBasis.SCALE, False), (RangeBasis.BOUNDS, True)])
def test_a_score_may_leave_a_range_that_is_no_hard_bound(basis: RangeBasis, wrong: bool) -> None:
    """A network may score an image beyond the ratings that it was trained on, by less than half their scale."""
    metric = metric_of(lambda image: 7.0 + brightness(image))
    metric.facts = replace(metric.facts, range_basis=basis)
    if wrong:
        with pytest.raises(RuleBrokenError, match="the facts say 0 to 10"):
            check_before_export(metric)
    else:
        check_before_export(metric)


def test_a_build_refuses_a_column_of_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line and exit code 2 instead of an error of the exporters; no archive is left."""
    usual = Lite.forward
    monkeypatch.setattr(Lite, "forward", lambda self, image: usual(self, image)[:, None])
    with pytest.raises(SystemExit) as ended:
        main(["build", "--metrics", "lite", "--defences", "flip", "--model-store", str(tmp_path / "store")])
    assert ended.value.code == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: lite breaks the rule output-shape: the output has the shape (1, 1)")
    assert "or by [:, 0] where an axis of one is left" in error
    assert not list(tmp_path.glob("store/*.mar"))


def test_the_images_are_left_as_they_are() -> None:
    """A metric that writes into its input does not spoil the images of the other rules."""

    def greedy(image: Tensor) -> Tensor:
        scores = brightness(image)
        with torch.no_grad():
            image.zero_()
        return scores

    check_before_export(metric_of(greedy))
