"""Generated weights of VGG16 and of the measures on it, as files."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from data_folder import DATA

VGG16, LPIPS, DISTS = "vgg16-397923af.pth", "lpips_v0.1_lin_vgg.pth", "dists_weights.pt"
WIDTHS = (64, 128, 256, 512, 512)
BLOCKS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
"""Places of the convolutions in torchvision's `features`, pooling between the blocks."""


def write_weights(path: Path) -> Path:
    """A VGG16 of random weights under torchvision's names, and the real parameters of LPIPS and DISTS if at hand."""
    rng = torch.Generator().manual_seed(7)
    state, inputs = {"classifier.6.bias": torch.zeros(1000)}, 3
    for places, width in zip(BLOCKS, WIDTHS, strict=True):
        for place in places:
            deviation = (2 / (9 * inputs)) ** 0.5
            state[f"features.{place}.weight"] = torch.randn(width, inputs, 3, 3, generator=rng) * deviation
            state[f"features.{place}.bias"] = torch.randn(width, generator=rng) * 0.1
            inputs = width
    torch.save(state, path / VGG16)
    heads = {f"lin{i}.model.1.weight": torch.rand(1, width, 1, 1, generator=rng) for i, width in enumerate(WIDTHS)}
    torch.save(heads, path / LPIPS)
    torch.save({name: torch.rand(1, 1475, 1, 1, generator=rng) / 1475 for name in ("alpha", "beta")}, path / DISTS)
    for name in (LPIPS, DISTS):
        if (DATA / "params" / name).is_file():
            shutil.copy(DATA / "params" / name, path / name)
    return path
