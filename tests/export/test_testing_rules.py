"""The testers of metrics and defences: each rule catches a class that breaks it, and says how to mend it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

import pytest
import torch
from export_samples import Deviation, Gamma, Grainy, Uncapturable, metric_facts
from torch import Tensor
from torch.nn import functional

from scoreguard_export.defences.base import (
    Defence,
    DefenceFacts,
    Differentiability,
    Parameter,
    Tiles,
    switch,
)
from scoreguard_export.errors import ExportError
from scoreguard_export.metrics.base import Metric, RangeBasis, ScoreRange
from scoreguard_export.testing import (
    DEFENCE_RULES,
    METRIC_RULES,
    RuleBrokenError,
    check_defence,
    check_metric,
    without,
)
from scoreguard_export.weights.source import WeightsSource


class Brightness(Metric):
    """The mean of an image times ten: right in every way."""

    facts = replace(
        metric_facts("brightness"), score_range=ScoreRange(low=0.0, high=10.0), range_basis=RangeBasis.BOUNDS
    )

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
        return 10.0 * image.mean(dim=(1, 2, 3))


class Untitled(Brightness):
    """Facts with a hole."""

    facts = replace(Brightness.facts, title=" ")


class Unlicensed(Brightness):
    """Weights that nobody may use."""

    sources = MappingProxyType({"unlicensed": WeightsSource(licence="", url="https://example.org")})

    @classmethod
    def from_weights(cls, files: Mapping[str, Any] = MappingProxyType({}), variant: str = "") -> Unlicensed:
        """Without the file."""
        return cls().eval()


class Greedy(Brightness):
    """Reads squares of 24 pixels, and says that 16 are enough."""

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
        return 10.0 * functional.unfold(image, 24).mean(dim=(1, 2))


class Columns(Brightness):
    """One column too many."""

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch as (N, 1)."""
        return super().forward(image)[:, None]


class Doubled(Brightness):
    """Another type."""

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch in double precision."""
        return super().forward(image).double()


class OutOfRange(Brightness):
    """Twice as bright as it says."""

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
        return 5.0 + 10.0 * image.mean(dim=(1, 2, 3))


class Beyond(OutOfRange):
    """It may be: what it says was measured on some images."""

    facts = replace(Brightness.facts, range_basis=RangeBasis.MEASURED)


class Moody(Brightness):
    """Randomness that is no input."""

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
        return super().forward(image) * (1.0 - 0.1 * torch.rand(()))


class InPlace(Brightness):
    """Writes into what it was given."""

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
        with torch.no_grad():
            image.clamp_(0.1, 0.9)
        return super().forward(image)


class Relative(Brightness):
    """Brightness compared with the images beside it."""

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
        return (5.0 + super().forward(image) - super().forward(image).mean()).clamp(0.0, 10.0)


class Rooted(Brightness):
    """A deviation without a guard: its derivative on flat images is infinite."""

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
        mean = image.mean(dim=(1, 2, 3), keepdim=True)
        return 10.0 * torch.sqrt(((image - mean) ** 2).mean(dim=(1, 2, 3)))


class Rounded(Brightness):
    """Whole levels alone: no derivative."""

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
        return torch.round(super().forward(image))


class Resampled(Brightness):
    """A resize that ONNX does otherwise: both can be written, and differ."""

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
        small = functional.interpolate(image, scale_factor=0.37, mode="bilinear", antialias=True)
        return 10.0 * small.amax(dim=(1, 2, 3)).clamp(0.0, 1.0)


class Pooled(Brightness):
    """A pool whose windows are frozen at the size of the export."""

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
        return 10.0 * functional.adaptive_avg_pool2d(image, 3).amax(dim=(1, 2, 3))


METRICS: list[tuple[type[Metric], str, str]] = [
    (Untitled, "complete-facts", "the facts have no title"),
    (Unlicensed, "licensed-weights", "the weights unlicensed have no licence"),
    (Greedy, "smallest-image", "2×3×16×16"),
    (Columns, "output-shape", "the shape (4, 1)"),
    (Doubled, "output-shape", "torch.float64, not torch.float32"),
    (OutOfRange, "score-range", "the facts say 0 to 10"),
    (Moody, "repeatable", "differ by"),
    (InPlace, "input-kept", "changes its inputs"),
    (Relative, "batch-independence", "image 0 alone differs by"),
    (Rooted, "finite-gradient", "on the flat black image"),
    (Rounded, "some-gradient", "0 everywhere"),
    (Resampled, "parity", "the onnx graph differs at 1×3×16×16: by"),
    (Pooled, "parity", "the onnx graph differs at 1×3×16×16: it fails to run"),
]


def test_a_score_may_leave_a_range_that_is_no_hard_bound() -> None:
    """The testers allow what a build allows: half the width beyond a range that was measured, or is a scale."""
    check_metric(Beyond)


class Deviating(Deviation):
    """0 / 0 on a black image."""

    facts = metric_facts("deviation")


class Unwritable(Brightness):
    """Code that neither format holds: the size of the output depends on the values."""

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
        exec("pass")
        return torch.stack([10.0 * one[one >= float(one.min())].mean() for one in image])


METRICS += [
    (Deviating, "finite-score", "on the flat black image"),
    (Unwritable, "exportable", "cannot hold it"),
]


class Mended(Defence):
    """Any defence that is right in every way: a gain of at most 1."""

    facts = DefenceFacts(
        name="mended",
        title="Mended",
        paper="none",
        year=2024,
        parameters=(
            Parameter(name="gain", description="Factor.", default=0.5, minimum=0.1, maximum=1.0),
            switch("mirrored", "Whether to mirror left and right.", default=False),
        ),
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=1,
        parity_tolerance=1e-6,
    )

    def __init__(self, *, mirrored: float = 0.0) -> None:
        super().__init__(mirrored=mirrored)
        self.mirrored = bool(mirrored)

    def forward(self, image: Tensor, gain: Tensor) -> Tensor:
        """Purify a batch."""
        scaled = image * gain
        return scaled.flip(3) if self.mirrored else scaled


def with_parameter(**changes: Any) -> DefenceFacts:
    """The facts with another first parameter."""
    first, *others = Mended.facts.parameters
    return replace(Mended.facts, parameters=(replace(first, **changes), *others))


class Nameless(Mended):
    """A name that no chain can hold."""

    facts = replace(Mended.facts, name="Mended+1")


class BadDefault(Mended):
    """A default outside its range."""

    facts = with_parameter(default=2.0)


class Unexplained(Mended):
    """No sentence."""

    facts = with_parameter(description="Factor")


class OtherDefault(Mended):
    """A constructor whose default is not the facts'."""

    def __init__(self, *, mirrored: float = 1.0) -> None:
        super().__init__(mirrored=mirrored)


class Careless(Mended):
    """Any structural value will do."""

    @classmethod
    def check(cls, structural: Mapping[str, float]) -> None:
        """Nothing."""


class Cropped(Mended):
    """One column less than it promises."""

    def forward(self, image: Tensor, gain: Tensor) -> Tensor:
        """Purify a batch."""
        return super().forward(image, gain)[:, :, :, : max(image.shape[3] - 1, 1)]


class Amplified(Mended):
    """Beyond 1 at one end of its parameter only."""

    facts = with_parameter(maximum=3.0)


class Deaf(Grainy):
    """Declares noise and draws the same for every image."""

    def forward(self, image: Tensor, strength: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """Purify a batch."""
        return torch.clamp(image + 0.0 * (strength + noise + level[:, None, None, None]), 0.0, 1.0)


class ClampedGamma(Gamma):
    """The advice taken: the base of the power kept away from 0."""

    def forward(self, image: Tensor, gamma: Tensor) -> Tensor:
        """Purify a batch."""
        return image.clamp(min=1e-3) ** gamma


class Quantised(Mended):
    """Rounding without a way round it, declared exact."""

    def forward(self, image: Tensor, gain: Tensor) -> Tensor:
        """Purify a batch."""
        return torch.round(super().forward(image, gain) * 15.0) / 15.0


class Bypassed(Quantised):
    """The same, declared for what it is."""

    facts = replace(Mended.facts, differentiability=Differentiability.BPDA_IDENTITY)


class Smoothed(Mended):
    """A mean of 9 × 9 pixels, in tiles; a mirrored image in tiles would be another."""

    facts = replace(Mended.facts, parameters=Mended.facts.parameters[:1])
    overlap: ClassVar[int] = 4

    def __init__(self) -> None:
        super(Mended, self).__init__()
        self.mirrored = False

    def forward(self, image: Tensor, gain: Tensor) -> Tensor:
        """Purify a batch."""
        return functional.avg_pool2d(super().forward(image, gain), 9, stride=1, padding=4).clamp(0.0, 1.0)

    @classmethod
    def tiles(cls, structural: Mapping[str, float]) -> Tiles | None:
        """As much overlap as a pixel looks at."""
        return Tiles(size=256, overlap=cls.overlap)


class Seamed(Smoothed):
    """Half of the overlap that it needs."""

    overlap = 2


class Swallowed(Smoothed):
    """Tiles that are overlap alone."""

    overlap = 128


DEFENCES: list[tuple[type[Defence], str, str]] = [
    (Nameless, "complete-facts", "cannot be written in a chain"),
    (BadDefault, "sound-parameters", "the parameter gain has the default 2, which is not in its range 0.1 to 1"),
    (Unexplained, "sound-parameters", "does not end with a full stop"),
    (OtherDefault, "declared-variants", "without arguments it is built with {'mirrored': 1.0}"),
    (Careless, "declared-variants", "mirrored=-7"),
    (Cropped, "output-shape", "has the shape (3, 3, 3, 6) at 3×3×3×7"),
    (Amplified, "output-range", "gain=3"),
    (Deaf, "own-draws", "purified alike"),
    (Gamma, "finite-gradient", "13×3×30×14, gamma=0.2 (patterns) on the photographic image; keep powers, roots"),
    (Quantised, "some-gradient", "0 everywhere"),
    (Seamed, "tiles", "as a whole"),
    (Swallowed, "tiles", "keep nothing"),
]


@pytest.mark.parametrize(
    ("metric", "rule", "said"),
    [pytest.param(*row, id=row[0].__name__, marks=[pytest.mark.slow] if row[0] is Pooled else []) for row in METRICS],
)
def test_a_metric_that_breaks_a_rule_is_told_which_and_where(metric: type[Metric], rule: str, said: str) -> None:
    """One line in the package's own tree: the rule, what was found, and the rule's advice at its end."""
    with pytest.raises(RuleBrokenError) as caught:
        check_metric(metric)
    require_told(caught.value, rule, said, {rule.name: rule.advice for rule in METRIC_RULES})


@pytest.mark.parametrize(("defence", "rule", "said"), DEFENCES, ids=[kind.__name__ for kind, *_ in DEFENCES])
def test_a_defence_that_breaks_a_rule_is_told_which_and_where(defence: type[Defence], rule: str, said: str) -> None:
    """The setting and the image are named as well."""
    with pytest.raises(RuleBrokenError) as caught:
        check_defence(defence)
    require_told(caught.value, rule, said, {rule.name: rule.advice for rule in DEFENCE_RULES})


def require_told(error: RuleBrokenError, rule: str, said: str, advice: Mapping[str, str]) -> None:
    """What the error carries is what its one line says."""
    assert error.rule == rule, str(error)
    assert said in str(error)
    assert isinstance(error, ExportError)
    assert error.advice == advice[rule]
    assert str(error).endswith(f"; {error.advice}")
    assert "\n" not in str(error)


def test_every_rule_is_broken_by_some_class_above_or_below() -> None:
    """A new rule needs a class that breaks it."""
    broken = {rule for _, rule, _ in (*METRICS, *DEFENCES)}
    elsewhere = {"golden-vector"}
    known = {rule.name for rule in METRIC_RULES} | {rule.name for rule in DEFENCE_RULES}
    assert known == broken | elsewhere


@pytest.mark.slow
def test_graphs_that_miss_the_golden_image_are_told() -> None:
    """Looked at for itself: with all rules, parity finds such a graph first."""
    with pytest.raises(RuleBrokenError) as caught:
        check_metric(Pooled, rules=without(METRIC_RULES, "parity"))
    assert caught.value.rule == "golden-vector"


def test_a_metric_that_obeys_every_rule_passes() -> None:
    """Nothing is said."""
    check_metric(Brightness)


@pytest.mark.parametrize("defence", [Mended, Grainy, ClampedGamma, Bypassed, Smoothed])
def test_a_defence_that_obeys_every_rule_passes(defence: type[Defence]) -> None:
    """Random ones, tiled ones, those without a derivative of their own, and one that took the advice."""
    check_defence(defence)


def test_a_class_that_raises_is_told_with_what_it_raised() -> None:
    """Its exception is the cause, for the traceback, and one line of it is in the message."""
    with pytest.raises(RuleBrokenError, match="no images today, none at all") as caught:
        check_metric(Uncaptured)
    assert caught.value.rule == "smallest-image"


class Uncaptured(Uncapturable):
    """Fails when it is run."""

    facts = metric_facts("uncapturable")


def test_a_name_that_is_not_the_facts_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point under another name than the class gives itself."""
    from scoreguard_export.metrics.catalogue import CATALOGUE

    monkeypatch.setitem(CATALOGUE._loaded, "lite", Brightness)
    with pytest.raises(RuleBrokenError, match="the catalogue lists it as 'lite', its facts say 'brightness'"):
        check_metric("lite")


def test_the_rules_can_be_listed_and_left_out() -> None:
    """Each has a name of its own, a statement and an advice; an unknown name gets the near ones."""
    for rules in (METRIC_RULES, DEFENCE_RULES):
        names = [rule.name for rule in rules]
        assert len(set(names)) == len(names)
        assert all(str(rule) == f"{rule.name}: {rule.statement}" and rule.advice for rule in rules)
    assert [rule.name for rule in without(DEFENCE_RULES, "parity")] == [
        rule.name for rule in DEFENCE_RULES if rule.name != "parity"
    ]
    with pytest.raises(ValueError, match="did you mean parity"):
        without(DEFENCE_RULES, "parrity")
