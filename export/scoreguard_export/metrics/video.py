"""Metrics of videos: features of each frame by a ResNet-50, then a head that pools them over time.

    frame: x → W · [mean, deviation] of the last feature map of ResNet50((x − mean) / deviation) over space
    pool:  features of all frames, in order → GRU → quality of each frame → temporal pooling → score

The backbone is torchvision's with its first weights of ImageNet, which the authors did not train further. An image is a
clip of one frame, so these metrics score images as well.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final

import torch
from torch import Tensor, nn

from scoreguard_export.clip_graphs import FrameGraph, PoolGraph
from scoreguard_export.graph_module import GraphModule, Role
from scoreguard_export.metrics.backbones import backbone, stages
from scoreguard_export.metrics.base import Metric
from scoreguard_export.metrics.imagenet import normalised
from scoreguard_export.weights.checkpoints import load_checkpoint
from scoreguard_export.weights.source import CommercialUse, WeightsSource

NUMBERS: Final = 128
"""Numbers in the features of a frame."""
CHANNELS: Final = 2048
"""Channels of the last feature map."""
BACKBONE: Final = "resnet50-imagenet"
"""Name of the backbone's weights file."""
BACKBONE_SOURCE: Final = WeightsSource(
    licence="BSD-3-Clause (torchvision; trained on ImageNet, whose images are for research)",
    commercial=CommercialUse.YES,
    download="https://download.pytorch.org/models/resnet50-0676ba61.pth",
    sha256="0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
)
INPUT_RULE: Final = "RGB at native size, normalised as for ImageNet; an image is a clip of one frame"
_LEAST_VARIANCE: Final = 1e-30
_FRAME_TOLERANCE: Final = 1e-3
"""Largest difference of a feature between an exported graph and the module; features are sums of 4096 terms."""


class VideoHead(nn.Module):
    """What follows the backbone, under the official names."""

    @abstractmethod
    def reduction(self) -> nn.Module:
        """Return the layer from (N, 4096) to (N, 128)."""

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Score clips by the features of their frames: (N, T, 128) → (N,)."""


class FrameFeatures(nn.Module):
    """Frames → features."""

    def __init__(self, features: nn.Module, reduction: nn.Module) -> None:
        super().__init__()
        self.features, self.reduction = features, reduction

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] → (N, 128)."""
        cells = self.features(normalised(image)).flatten(2)
        mean = cells.mean(dim=2, keepdim=True)
        variance = (cells - mean).square().sum(dim=2) / (cells.shape[2] - 1)
        # A channel that is equal everywhere has the deviation 0, whose derivative is taken as 0.
        deviation = variance.clamp_min(_LEAST_VARIANCE).sqrt()
        reduced: Tensor = self.reduction(torch.cat([mean[:, :, 0], deviation], dim=1))
        return reduced


class VideoMetric(Metric):
    """A metric of videos; a subclass names its head."""

    sources: ClassVar[Mapping[str, WeightsSource]]
    """The head's official checkpoint first, then the backbone's."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(*stages(self.untrained()))
        self.head = self.untrained_head()

    @classmethod
    def at_hand(cls, files: Mapping[str, Path]) -> bool:
        """Return whether both weights files are given."""
        return set(cls.sources) <= cls.available(files)

    def untrained(self) -> nn.Module:
        """Make the backbone with torchvision's names and shapes.

        Raises:
            MissingExtraError: torchvision is not installed.
        """
        return backbone("resnet50", self.facts.name)

    @abstractmethod
    def untrained_head(self) -> VideoHead:
        """Make the head with the checkpoint's names and shapes."""

    def load(self, name: str, path: Path) -> str:
        """Take the head's official checkpoint, or torchvision's of the backbone, whose classifier is left out.

        Raises:
            WeightsError: the file is missing, unreadable, or holds other tensors.
        """
        if name != BACKBONE:
            return load_checkpoint(self.head, path, name, self.sources[name])
        network = self.untrained()
        sha256 = load_checkpoint(network, path, name, self.sources[name])
        self.features.load_state_dict(nn.Sequential(*stages(network)).state_dict())
        return sha256

    def graphs(self) -> Mapping[Role, GraphModule]:
        """Return the metric itself, for images, and the graphs of frames and clips."""
        facts = self.facts
        frame = replace(facts, name=f"{facts.name} (frame)", parity_tolerance=_FRAME_TOLERANCE)
        return {
            Role.GRAPH: self,
            Role.FRAME: FrameGraph(self._frame(), frame).eval(),
            Role.POOL: PoolGraph(self.head, replace(facts, name=f"{facts.name} (pool)"), NUMBERS).eval(),
        }

    def _frame(self) -> FrameFeatures:
        return FrameFeatures(self.features, self.head.reduction())

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch of images (N, 3, H, W) in [0, 1], each as a clip of one frame."""
        scores: Tensor = self.head(self._frame()(image)[:, None])
        return scores
