"""Weights of official checkpoints into modules, with one clear error for whatever is wrong with the file."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

from scoreguard_export.errors import WeightsError
from scoreguard_export.metrics.base import MetricFacts


def advice(facts: MetricFacts) -> str:
    """Which file is needed, where it is from, and under which licence."""
    return f"give the file by --weights; it is {facts.weights.url} (licence: {facts.weights.licence})"


def load_checkpoint(module: nn.Module, path: Path, facts: MetricFacts) -> None:
    """Fill a module from a plain dictionary of tensors; half-precision tensors are widened.

    Raises:
        WeightsError: the file is missing, is no dictionary of tensors, or has other names or shapes.
    """
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError as error:
        raise WeightsError(f"no weights of {facts.name} at {path}: {advice(facts)}") from error
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path} is not a checkpoint of tensors alone: {advice(facts)}") from error
    if problem := _mismatch(module.state_dict(), state):
        raise WeightsError(f"{path} is not the checkpoint of {facts.name} ({problem}): {advice(facts)}")
    module.load_state_dict({name: value.float() for name, value in state.items()})


def _mismatch(wanted: dict[str, Tensor], found: object) -> str:
    """The first difference of names or shapes, empty where there is none."""
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        return "no dictionary of tensors"
    if missing := sorted(set(wanted) - set(found)):
        return f"{len(missing)} tensors missing, the first is {missing[0]}"
    if extra := sorted(set(found) - set(wanted)):
        return f"{len(extra)} tensors too many, the first is {extra[0]}"
    for name, tensor in wanted.items():
        if tensor.shape != found[name].shape:
            return f"{name} is {tuple(found[name].shape)}, not {tuple(tensor.shape)}"
    return ""
