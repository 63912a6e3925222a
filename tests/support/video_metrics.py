"""Metrics of videos on a small backbone, and weights files for them, large or small."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from official_states import HEADS, drawn, measured, resnet50
from thin_metrics import thin_resnet
from torch import Tensor, nn

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.libraries import library
from scoreguard_export.metrics.backbones import EXTRA
from scoreguard_export.metrics.mdtvsfa import Mdtvsfa
from scoreguard_export.metrics.video import BACKBONE, VideoMetric
from scoreguard_export.metrics.vsfa import Vsfa


class ThinVsfa(Vsfa):
    """VSFA on the small network."""

    def untrained(self) -> nn.Module:
        """Make the small network."""
        return thin_resnet(1000)


class ThinMdtvsfa(Mdtvsfa):
    """MDTVSFA on the small network."""

    def untrained(self) -> nn.Module:
        """Make the small network."""
        return thin_resnet(1000)


THIN_VIDEO: Mapping[str, type[VideoMetric]] = {"vsfa": ThinVsfa, "mdtvsfa": ThinMdtvsfa}
"""The small metrics by the name of the large ones."""


def head_state(name: str, seed: int = 0) -> dict[str, Tensor]:
    """Weights of a head whose gates are not saturated, so that scores of frames differ, in the middle of the scale."""
    state = drawn(dict(HEADS[name]()), seed)
    first, last = ("ann.fc0", "q") if name == "vsfa" else ("dimemsion_reduction", "regression")
    factors = {f"{first}.weight": 0.1, f"{last}.weight": 0.3}
    found = {key: value * factors.get(key, 1.0) for key, value in state.items()}
    found[f"{last}.bias"] = torch.full((1,), 0.5)
    if name == "mdtvsfa":  # near the published ones, and none of them 0 or 1
        constants = {"nlm.0.weight": 3.2, "nlm.0.bias": -1.6, "nlm.2.weight": 0.9, "nlm.2.bias": 0.05}
        found |= {key: torch.full_like(found[key], value) for key, value in constants.items()}
    return found


def video_weights(name: str, folder: Path, *, thin: bool = True) -> dict[str, Path]:
    """Both weights files of a metric, in the form of their publishers."""
    files = {name: folder / f"{name}.pt", BACKBONE: folder / f"{BACKBONE}.pth"}
    torch.save(head_state(name), files[name])
    network = thin_resnet(1000) if thin else library("torchvision.models", EXTRA, "a test").resnet50(weights=None)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()} if thin else dict(resnet50())
    network.load_state_dict(drawn(shapes))
    measured(network, photographs(6, 96, 96, 0))
    torch.save(network.state_dict(), files[BACKBONE])
    return files
