"""Base class of metrics: a module from images to scores, with its scientific facts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Self

from torch import Tensor

from scoreguard.catalogue import UnknownNameError
from scoreguard.score_range import ScoreRange as ScoreRange  # re-exported: metrics declare it
from scoreguard_export.graph_module import NO_FILES, GraphFacts, GraphModule, comparing, skeleton
from scoreguard_export.weights.checkpoints import load_checkpoint


class RangeBasis(StrEnum):
    """How the lowest and highest score of a metric were obtained."""

    BOUNDS = "hard bounds"
    """No image can have another score."""
    SCALE = "declared scale"
    """The scale of the ratings that it was trained on; the score may leave it."""
    MEASURED = "measured"
    """The lowest and highest score of a set of images; others may score beyond."""


@dataclass(frozen=True, kw_only=True)
class MetricFacts(GraphFacts):
    """What is known about a metric before any export; the tolerance is in score units."""

    score_range: ScoreRange
    """Lowest and highest score, and which of them is better."""
    input_rule: str
    """How the metric reads an image."""
    range_basis: RangeBasis = RangeBasis.SCALE
    """How that range was obtained."""
    measured_on: str = ""
    """The images, if the range was measured."""
    backbone: str = ""
    """The network, or what takes its place, in a few words."""
    variants: tuple[str, ...] = ()
    """Ways of computing it in addition to the usual one: `as-official` if the authors' code differs from the paper,
    `as-benchmark` if a benchmark's does. Each is built and served under its own name: `niqe-as-official`."""
    variant: str = ""
    """The variant that these facts describe; empty = the usual one."""

    def of_variant(self, variant: str) -> MetricFacts:
        """Return the facts of a variant.

        Raises:
            UnknownNameError: no variant has this name.
        """
        if variant not in self.variants:
            raise UnknownNameError(f"variant of {self.name}", variant, list(self.variants))
        return replace(self, name=f"{self.name}-{variant}", title=f"{self.title}, {variant}", variant=variant)

    @property
    def higher_is_better(self) -> bool:
        """False if a low score means high quality."""
        return self.score_range.higher_is_better


class Metric(GraphModule):
    """f: RGB float32 images (N, 3, H, W) in [0, 1] → scores (N,).

    Normalisation and resizing are part of the module, hence of the exported graph. The constructor takes no arguments.
    """

    facts: MetricFacts
    output_name = "score"

    def output_axes(self) -> tuple[str | None, ...]:
        """Return the axes of one score per image."""
        return ("batch",)

    @classmethod
    def pattern_size(cls, least: int) -> tuple[int, int]:
        """Return a size with room for several of the smallest images: a metric may read an image in patches."""
        return 2 * least + 41, 2 * least + 17

    @classmethod
    def from_weights(cls, files: Mapping[str, Path] = NO_FILES, variant: str = "") -> Self:
        """Build the module in evaluation mode.

        Args:
            files: weights files by the names of `sources`; shipped ones may be left out.
            variant: one of the facts' variants, passed to the constructor; empty = the usual one.

        Raises:
            UnknownNameError: the metric has no such variant; the message lists its variants.
            WeightsError: a file is neither given nor shipped, is missing, unreadable, or holds other shapes.
        """
        metric = cls.of_variant(variant) if variant else cls()
        metric.weights_digests = {name: metric.load(name, path) for name, path in cls.located(files).items()}
        return metric.eval()

    @classmethod
    def of_variant(cls, variant: str) -> Self:
        """Build the module of a variant without weights; its facts have the variant's name.

        Raises:
            UnknownNameError: the metric has no such variant.
        """
        facts = cls.facts.of_variant(variant)
        metric = cls(variant=variant)
        metric.facts = facts
        return metric

    def load(self, name: str, path: Path) -> str:
        """Fill the module from one weights file; by default a checkpoint with exactly the module's tensors.

        Returns:
            SHA-256 of the file as it was read, hexadecimal.

        Raises:
            WeightsError: the file is missing, unreadable, or holds other shapes.
        """
        return load_checkpoint(self, path, name, self.sources[name])

    @classmethod
    def check_weights(cls, name: str, path: Path) -> str:
        """Check that a file is what `load` takes: its names and shapes, and that its numbers are finite."""
        metric = skeleton(cls)
        with comparing():
            return metric.load(name, path)

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
