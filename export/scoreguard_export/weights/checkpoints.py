"""Load official checkpoints into modules: tensors only, with one clear error for any problem with the file."""

from __future__ import annotations

import argparse
import hashlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor, nn

from scoreguard_export.errors import WeightsError
from scoreguard_export.weights.comparison import difference
from scoreguard_export.weights.source import WeightsSource

_WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "model", "network", "net")
"""Keys under which training frameworks store the tensors, the averaged ones first."""
_PARALLEL = "module."
"""Prefix of each name if the network was trained on several devices."""
_SCALAR: Final = np.float64(0.0).__reduce__()[0]
_RECORDS: Final[tuple[Any, ...]] = (
    *(argparse.Namespace, np.dtype, *(type(np.dtype(number)) for number in (np.float32, np.float64, np.int64))),
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
)
"""What trainings store beside the tensors, options and best results: plain values, whose unpickling runs no code."""

_REFUSALS: Final = ("unsupported global", "torchscript archives")
"""What torch says, in lower case, of a file that holds more than tensors."""


def advice(name: str, source: WeightsSource) -> str:
    """Say how the file is made or which one is needed, how to pass it, where it is from, and its licence."""
    made = f"make one with `{source.made_by}`" if source.made_by else ""
    if made and not source.origin:
        return made
    given = f"give the file by --weights {name}=PATH; it is {source.origin} (licence: {source.licence})"
    fetched = f"; `scoreguard-export weights get {name}` fetches it" if source.can_be_fetched else ""
    return ", or ".join(filter(None, [made, given + fetched]))


@dataclass(frozen=True, kw_only=True)
class LoadedWeights:
    """The tensors of a file, and the digest of the bytes that they were read from."""

    tensors: dict[str, Tensor]
    sha256: str
    """Hexadecimal."""


@dataclass(frozen=True, kw_only=True)
class LoadedContent:
    """All that a file holds, and the digest of the bytes that it was read from."""

    value: object
    """Tensors, numbers, texts and containers of them."""
    sha256: str
    """Hexadecimal."""


def load_checkpoint(module: nn.Module, path: Path, name: str, source: WeightsSource) -> str:
    """Fill a module from a checkpoint, half precision widened.

    Returns:
        SHA-256 of the file, hexadecimal.

    Raises:
        WeightsError: the file is missing, holds no dictionary of tensors, or other names, shapes or numbers.
    """
    weights = read_checkpoint(path, name, source)
    fill(module, weights.tensors, path, name, source)
    return weights.sha256


def read_checkpoint(
    path: Path, name: str, source: WeightsSource, *, what: str = "weights", kind: str = ""
) -> LoadedWeights:
    """Read the tensors of a file, single precision at least, and its digest.

    `.safetensors` and `.npz` are read in those formats, anything else as a file that torch saved. No code of the file
    is run. Anything other than weights in a training checkpoint is left out.

    Args:
        path: The file.
        name: Name of the weights, for the message.
        source: Source of the weights, for the message.
        what: Description of the weights, for the message.
        kind: What the file should be, for the message; empty = as its suffix says.

    Raises:
        WeightsError: the file is missing, or holds no dictionary of tensors.
    """
    content = read_content(path, name, source, what=what, kind=kind)
    return LoadedWeights(tensors=tensors_of(content.value, path, name, source), sha256=content.sha256)


def read_content(
    path: Path, name: str, source: WeightsSource, *, what: str = "weights", kind: str = ""
) -> LoadedContent:
    """Read a file as `read_checkpoint` does, with what it holds beside the tensors.

    Raises:
        WeightsError: the file is missing or unreadable.
    """
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            value = _READERS.get(path.suffix, _of_torch)(file)
    except FileNotFoundError as error:
        raise WeightsError(f"no {what} of {name} at {path}: {advice(name, source)}") from error
    except Exception as error:  # a file of another type can fail in many ways
        usual = "a safetensors file" if path.suffix == ".safetensors" else "a checkpoint of tensors alone"
        what = f"not {kind or usual}: it holds no tensors that can be read"
        if holds_code(error):
            convert = f"`scoreguard-export weights convert {name} {path}` takes its tensors out"
            what = f"a pickled or scripted module, which is never run here: {convert}"
        raise WeightsError(f"{path} is {what}: {advice(name, source)}") from error
    return LoadedContent(value=value, sha256=sha256)


def tensors_of(content: object, path: Path, name: str, source: WeightsSource) -> dict[str, Tensor]:
    """Return the tensors of a file's content, single precision at least, without what a training keeps beside them.

    Raises:
        WeightsError: it holds no dictionary of tensors.
    """
    state = _unwrapped(content)
    if not isinstance(state, Mapping) or not _is_state(state):
        raise WeightsError(f"{path} holds no dictionary of tensors: {advice(name, source)}")
    return {str(key).removeprefix(_PARALLEL): _widened(value) for key, value in state.items()}


def holds_code(error: Exception) -> bool:
    """Return whether `torch.load` refused a file for what it would have to run, and not because it is damaged."""
    return any(words in str(error).lower() for words in _REFUSALS)


def _widened(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _of_torch(file: BinaryIO) -> object:
    with torch.serialization.safe_globals(list(_RECORDS)), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*TorchScript archive")  # an error follows, which says it better
        content: object = torch.load(file, weights_only=True, map_location="cpu")
    return content


def _of_safetensors(file: BinaryIO) -> object:
    return load(file.read())


def _of_numpy(file: BinaryIO) -> object:
    with np.load(file, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


_READERS: Final[Mapping[str, Callable[[BinaryIO], object]]] = {".safetensors": _of_safetensors, ".npz": _of_numpy}


def fill(module: nn.Module, state: Mapping[str, Tensor], path: Path, name: str, source: WeightsSource) -> None:
    """Put tensors into a module; their names and shapes must match the module's exactly.

    Raises:
        WeightsError: a name or a shape differs, or a number is not finite; the message says which.
    """
    if problem := difference(module.state_dict(), state):
        what = f"another network's or damaged, not the checkpoint of {name} ({problem})"
        raise WeightsError(f"{path} is {what}: {advice(name, source)}")
    module.load_state_dict(dict(state))


def _unwrapped(content: object) -> object:
    """Return the tensors under a wrapper; a wrapper that holds settings instead is passed over."""
    if isinstance(content, Mapping):
        inside = [content[wrapper] for wrapper in _WRAPPERS if isinstance(content.get(wrapper), Mapping)]
        return next(filter(_is_state, inside), inside[0] if inside else content)
    return content


def _is_state(content: object) -> bool:
    return isinstance(content, Mapping) and bool(content) and all(isinstance(v, Tensor) for v in content.values())
