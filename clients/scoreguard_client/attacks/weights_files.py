"""Files of weights on the user's disk: what they must hold, reading them safely, and their digest."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scoreguard_client._extras import require_torch
from scoreguard_client.attacks.errors import AttackError

Shapes = Mapping[str, tuple[int, ...]]
"""Names of tensors and their shapes."""

UNREADABLE: Final = (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError)
"""What `torch.load` raises for a file that is no checkpoint."""
_DIGITS: Final = 16


class WeightsFileError(AttackError):
    """A file of weights that an attack needs is missing, broken, or not the one that it names."""


@dataclass(frozen=True, kw_only=True)
class HeadFile:
    """A file that a measure needs."""

    name: str
    """File name."""
    source: str
    """Its source and licence."""
    shapes: Shapes
    """The tensors that are read from it."""
    instead: str = ""
    """What can be given instead of a folder with the file, in words; empty = nothing."""


def digest_of_files(paths: Iterable[Path]) -> str:
    """Compute the digest of files: the first 16 hexadecimal digits of the SHA-256 of their SHA-256 digests."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:_DIGITS]


def read_tensors(path: Path, wanted: HeadFile) -> dict[str, Any]:
    """Read the tensors of a file in single precision, on the CPU; nothing in the file is executed.

    Raises:
        WeightsFileError: the file is broken, or lacks a tensor of the shape wanted.
    """
    try:
        state = require_torch("weights").load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise WeightsFileError(f"cannot read {str(path)!r}; it should be {wanted.name} ({wanted.source})") from error
    for name, shape in wanted.shapes.items():
        found = tuple(getattr(state.get(name), "shape", ())) if isinstance(state, Mapping) else ()
        if found != shape:
            raise WeightsFileError(
                f"{str(path)!r} is not {wanted.name} ({wanted.source}): {name!r} has shape {found}, not {shape}"
            )
    return {name: state[name].float() for name in wanted.shapes}
