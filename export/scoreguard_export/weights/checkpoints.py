"""Official checkpoints into modules: tensors alone, with one clear error for whatever is wrong with the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from scoreguard_export.errors import WeightsError
from scoreguard_export.weights.source import WeightsSource

_WRAPPERS = ("params_ema", "params", "state_dict")
"""Under which training frameworks put the tensors, the averaged ones first."""
_PARALLEL = "module."
"""Before each name, where the network was trained on several devices."""


def advice(name: str, source: WeightsSource) -> str:
    """Say which file is needed, how it is given, where it is from, and under which licence."""
    given = f"give the file by --weights {name}=PATH; it is {source.origin} (licence: {source.licence})"
    return f"{given}; `scoreguard-export weights get {name}` fetches it" if source.download else given


def load_checkpoint(module: nn.Module, path: Path, name: str, source: WeightsSource) -> None:
    """Fill a module from a checkpoint, half precision widened.

    Raises:
        WeightsError: the file is missing, holds no dictionary of tensors, or other names, shapes or numbers.
    """
    fill(module, read_checkpoint(path, name, source), path, name, source)


def read_checkpoint(path: Path, name: str, source: WeightsSource) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint, half precision widened.

    No code of the file is run. A checkpoint of a training run may carry more beside its weights; that is left out.

    Args:
        path: The file.
        name: What the weights are called, for the message.
        source: Where they are from, for the message.

    Raises:
        WeightsError: the file is missing, or holds no dictionary of tensors.
    """
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError as error:
        raise WeightsError(f"no weights of {name} at {path}: {advice(name, source)}") from error
    except Exception as error:  # a file of anything else fails in as many ways as there are files
        raise WeightsError(f"{path} is not a checkpoint of tensors alone: {advice(name, source)}") from error
    state = _unwrapped(content)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path} holds no dictionary of tensors: {advice(name, source)}")
    return {str(key).removeprefix(_PARALLEL): value.float() for key, value in state.items()}


def fill(module: nn.Module, state: Mapping[str, Tensor], path: Path, name: str, source: WeightsSource) -> None:
    """Put tensors into a module whose names and shapes they must have, neither more nor fewer.

    Raises:
        WeightsError: a name or a shape differs, or a number is not finite; the message says which.
    """
    if problem := _mismatch(module.state_dict(), state):
        raise WeightsError(f"{path} is not the checkpoint of {name} ({problem}): {advice(name, source)}")
    module.load_state_dict(dict(state))


def _unwrapped(content: object) -> object:
    if isinstance(content, Mapping):
        for wrapper in _WRAPPERS:
            if wrapper in content:
                return content[wrapper]
    return content


def _mismatch(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """The first difference, empty where there is none."""
    if missing := sorted(set(wanted) - set(found)):
        return f"{len(missing)} tensors missing, the first is {missing[0]}"
    if extra := sorted(set(found) - set(wanted)):
        return f"{len(extra)} tensors too many, the first is {extra[0]}"
    for name, tensor in wanted.items():
        if tensor.shape != found[name].shape:
            return f"{name} is {tuple(found[name].shape)}, not {tuple(tensor.shape)}"
        if not bool(torch.isfinite(found[name]).all()):
            return f"{name} holds numbers that are not finite"
    return ""
