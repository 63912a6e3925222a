"""Learned defences whose weights this project trains and ships; weights of the same names and shapes load by path."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from scoreguard_export.defences.learned import LearnedDefence
from scoreguard_export.weights.tensors import write_tensors

SHIPPED = Path(__file__).resolve().parents[1] / "weights"
"""Folder of the shipped weights."""


class ShippedDefence(LearnedDefence):
    """A defence with one weights file; the shipped one is the default."""


def write_weights(network: nn.Module, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write the network in safetensors, moved into place when complete."""
    write_tensors(path, {name: value.to(dtype) for name, value in network.state_dict().items()})
