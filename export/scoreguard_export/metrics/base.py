"""What every metric is: a module from images to scores, with its scientific facts beside it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from torch import Tensor

from scoreguard.score_range import ScoreRange as ScoreRange  # what a metric declares, here as everywhere
from scoreguard_export.graph_module import NO_FILES, GraphFacts, GraphModule
from scoreguard_export.weights.checkpoints import load_checkpoint


@dataclass(frozen=True, kw_only=True)
class MetricFacts(GraphFacts):
    """What is known about a metric before any export; the tolerance is in score units."""

    score_range: ScoreRange
    """Lowest and highest score, and which of them is the better one."""
    input_rule: str
    """How the metric reads an image."""

    @property
    def higher_is_better(self) -> bool:
        """False where a low score means high quality."""
        return self.score_range.higher_is_better


class Metric(GraphModule):
    """f: RGB float32 images (N, 3, H, W) in [0, 1] → scores (N,).

    Normalisation and resizing are part of the module, hence of the exported graph. The constructor takes no arguments.
    """

    facts: MetricFacts

    @classmethod
    def from_weights(cls, files: Mapping[str, Path] = NO_FILES) -> Self:
        """Build the module in evaluation mode.

        Args:
            files: weights files by the names of `sources`; shipped ones may be left out.

        Raises:
            WeightsError: a file is neither given nor shipped, is missing, unreadable, or holds other shapes.
        """
        metric = cls()
        for name, path in cls.located(files).items():
            metric.load(name, path)
        return metric.eval()

    def load(self, name: str, path: Path) -> None:
        """Fill the module from one weights file, here a checkpoint that has exactly the module's tensors.

        Raises:
            WeightsError: the file is missing, unreadable, or holds other shapes.
        """
        load_checkpoint(self, path, name, self.sources[name])

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
