"""Metrics with a large network on a small one: their own code otherwise, quick enough to export and differentiate."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
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
from scoreguard_export.metrics.hyper_iqa import HyperIqa
from scoreguard_export.metrics.linear import RowLinear
from scoreguard_export.metrics.linearity import Linearity
from scoreguard_export.metrics.meta_iqa import MetaIqa
from scoreguard_export.metrics.paq2piq import Paq2Piq
from scoreguard_export.metrics.rank_iqa import RankIqa
from scoreguard_export.metrics.spaq import Spaq
from scoreguard_export.metrics.tres import Tres
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


class ThinHyperIqa(HyperIqa):
    """HyperIQA on the small network, with a few crops."""

    crops = 4

    def untrained(self) -> nn.Module:
        """Make the small network."""
        network = thin_resnet(1)
        del network.fc
        return network


def thin_resnet18() -> nn.Module:
    """A ResNet-18 with a block in each layer."""
    resnet = library("torchvision.models.resnet", EXTRA, "a test")
    network: nn.Module = resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1])
    return network


class ThinPaq2Piq(Paq2Piq):
    """PaQ-2-PiQ on the small network."""

    def untrained(self) -> list[nn.Module]:
        """Make the parts of the small network."""
        return stages(thin_resnet18())


class FourStages(nn.Module):
    """The parts of a ResNet by their names, with few channels and a convolution in each layer."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, widths[0], 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(widths[0])
        self.relu, self.maxpool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        for stage, (inputs, outputs) in enumerate(zip((widths[0], *widths), widths, strict=False), start=1):
            layer = nn.Conv2d(inputs, outputs, 3, stride=1 if stage == 1 else 2, padding=1)
            self.add_module(f"layer{stage}", nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU()))
        self.fc = nn.Linear(widths[-1], 10)


class ThinTres(Tres):
    """TReS with few channels and crops."""

    crops = 6
    widths = (8, 16, 24, 32)
    heads = 4

    def untrained(self) -> nn.Module:
        """Make the small network."""
        return FourStages(self.widths)


THIN: Mapping[str, type[Metric]] = {
    "spaq": ThinSpaq,
    "meta-iqa": ThinMetaIqa,
    "linearity": ThinLinearity,
    "wsp": ThinWsp,
    "rank-iqa": ThinRankIqa,
    "fpr": ThinFpr,
    "dbcnn": ThinDbCnn,
    "hyper-iqa": ThinHyperIqa,
    "paq2piq": ThinPaq2Piq,
    "tres": ThinTres,
}
"""The small metrics by the name of the large ones."""


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a module's tensors."""
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def weights_of(kind: type[Metric], folder: Path, seed: int = 0) -> dict[str, Path]:
    """A weights file with the official names for a metric, large or small, in the form that its authors saved it."""
    name = kind.facts.name
    path = folder / f"{name}.pth"
    content = _small_content(kind, seed) if kind in THIN.values() else _content(kind, seed)
    torch.save(content, path)
    return {name: path}


def _content(kind: type[Metric], seed: int) -> dict[str, object]:
    name = kind.facts.name
    metric = kind.of_variant("as-benchmark") if kind.facts.variants else kind()
    metric.load_state_dict(drawn(shapes_of(metric), seed, name))
    least = max(metric.facts.minimum_size, 64)
    measured(metric, torch.cat([photographs(5, least, least, seed), patterns(least, least, seed)[-3:]]))
    return checkpoint(name, metric.state_dict())


@cache
def _small_content(kind: type[Metric], seed: int) -> dict[str, object]:
    """Those of small metrics are drawn once in a process."""
    return _content(kind, seed)


def variant_of(kind: type[Metric], variant: str) -> type[Metric]:
    """The class whose usual way of computing is the variant, for checks that take a class."""
    if not variant:
        return kind

    class Variant(kind):  # type: ignore[valid-type, misc]
        """The variant."""

        facts = kind.facts.of_variant(variant)

        def __init__(self) -> None:
            super().__init__(variant=variant)

    return Variant
