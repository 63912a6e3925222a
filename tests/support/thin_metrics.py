"""Metrics with a large network on a small one: their own code otherwise, quick enough to export and differentiate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from official_states import checkpoint, drawn, measured
from torch import nn

from scoreguard_export.archive.parity_images import patterns, photographs
from scoreguard_export.libraries import library
from scoreguard_export.metrics.backbones import EXTRA, stages
from scoreguard_export.metrics.base import Metric
from scoreguard_export.metrics.dbcnn import DbCnn
from scoreguard_export.metrics.fpr import Fpr
from scoreguard_export.metrics.linear import RowLinear
from scoreguard_export.metrics.linearity import Linearity
from scoreguard_export.metrics.meta_iqa import MetaIqa
from scoreguard_export.metrics.rank_iqa import RankIqa
from scoreguard_export.metrics.spaq import Spaq
from scoreguard_export.metrics.wsp import Wsp


def thin_resnet(outputs: int) -> nn.Module:
    """A ResNet with a block in each layer and narrow bottlenecks; its layers have the widths of the large ones."""
    resnet = library("torchvision.models.resnet", EXTRA, "a test")
    network: nn.Module = resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 1], width_per_group=4)
    network.fc = RowLinear(2048, outputs)
    return network


class ThinSpaq(Spaq):
    """SPAQ on the small network."""

    def untrained(self) -> nn.Module:
        """Make the small network."""
        return thin_resnet(1)


class ThinMetaIqa(MetaIqa):
    """MetaIQA on the small network."""

    def untrained(self) -> nn.Module:
        """Make the small network."""
        return thin_resnet(1000)


class ThinLinearity(Linearity):
    """LinearityIQA on the small network."""

    def untrained(self) -> list[nn.Module]:
        """Make the parts of the small network."""
        return stages(thin_resnet(1000))


class ThinWsp(Wsp):
    """WSP on the small network."""

    def untrained(self) -> list[nn.Module]:
        """Make the parts of the small network."""
        return stages(thin_resnet(1000))


class ThinRankIqa(RankIqa):
    """RankIQA with few channels."""

    widths = (4, 8, 8, 16, 16)
    hidden = 32


class ThinFpr(Fpr):
    """FPR with few channels."""

    widths = (4, 8, 16)


class ThinDbCnn(DbCnn):
    """DB-CNN with a convolution before each pooling instead of its VGG."""

    def untrained(self) -> nn.Sequential:
        """Make the small network, which divides the size by 16 as the large one does."""
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 8), (8, 8), (8, 8), (8, 8)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        return nn.Sequential(*layers, nn.Conv2d(8, 512, 3, padding=1), nn.ReLU())


THIN: Mapping[str, type[Metric]] = {
    "spaq": ThinSpaq,
    "meta-iqa": ThinMetaIqa,
    "linearity": ThinLinearity,
    "wsp": ThinWsp,
    "rank-iqa": ThinRankIqa,
    "fpr": ThinFpr,
    "dbcnn": ThinDbCnn,
}
"""The small metrics by the name of the large ones."""


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a module's tensors."""
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def weights_of(kind: type[Metric], folder: Path, seed: int = 0) -> dict[str, Path]:
    """A weights file with the official names for a metric, large or small, in the form that its authors saved."""
    name = kind.facts.name
    metric = kind.of_variant("as-benchmark") if kind.facts.variants else kind()
    metric.load_state_dict(drawn(shapes_of(metric), seed, name))
    least = max(kind.facts.minimum_size, 64)
    measured(metric, torch.cat([photographs(5, least, least, seed), patterns(least, least, seed)[-3:]]))
    path = folder / f"{name}.pth"
    torch.save(checkpoint(name, metric.state_dict()), path)
    return {name: path}


def variant_of(kind: type[Metric], variant: str) -> type[Metric]:
    """The class whose usual way of computing is the variant, for checks that take a class."""
    if not variant:
        return kind

    class Variant(kind):  # type: ignore[valid-type, misc]
        """The variant."""

        def __init__(self) -> None:
            super().__init__(variant=variant)

    return Variant
