"""Learned defences whose weights this project trains and ships; others with the same names and shapes load by path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from scoreguard_export.defences.learned import LearnedDefence
from scoreguard_export.errors import WeightsError
from scoreguard_export.weights.checkpoints import advice
from scoreguard_export.weights.source import WeightsSource
from scoreguard_export.weights.tensors import write_tensors

SHIPPED = Path(__file__).resolve().parents[1] / "weights"
"""Where the shipped weights are."""


class ShippedDefence(LearnedDefence):
    """A defence with one weights file, the shipped one where none is given."""

    @classmethod
    def read(cls, name: str, path: Path) -> dict[str, Tensor]:
        """The tensors of safetensors, or of a dictionary saved by torch, alone or as `model` of a checkpoint."""
        return read_weights(path, name, cls.sources[name])


def read_weights(path: Path, name: str, source: WeightsSource) -> dict[str, Tensor]:
    """Read tensors, half precision widened; no code of the file is run.

    Args:
        path: Safetensors, or what torch saved.
        name: What the weights are called, for the message.
        source: Where they are from, for the message.

    Raises:
        WeightsError: the file is missing, or holds no dictionary of tensors.
    """
    if not path.is_file():
        raise WeightsError(f"no weights of {name} at {path}: {advice(name, source)}")
    try:
        state = load_file(path) if path.suffix == ".safetensors" else _checkpoint(path)
    except Exception as error:  # a file of anything else fails in as many ways as there are files
        raise WeightsError(f"{path} holds no tensors that can be read: {advice(name, source)}") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path} holds no dictionary of tensors: {advice(name, source)}")
    return {str(key): value.float() for key, value in state.items()}


def _checkpoint(path: Path) -> object:
    content: object = torch.load(path, weights_only=True, map_location="cpu")
    return content["model"] if isinstance(content, Mapping) and "model" in content else content


def write_weights(network: nn.Module, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """The network in safetensors, moved into place when complete."""
    write_tensors(path, {name: value.to(dtype) for name, value in network.state_dict().items()})
