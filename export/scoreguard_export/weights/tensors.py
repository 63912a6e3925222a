"""Writing weights: safetensors files, written atomically and readable by everybody."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from safetensors.torch import save_file
from torch import Tensor

from scoreguard.support.whole_files import whole_file

_READABLE: Final = 0o644


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str] | None = None) -> None:
    """Write tensors of any device by name, moved into place when complete; `about` is kept as the file's metadata.

    Raises:
        OSError: the file cannot be written.
    """
    with whole_file(path) as unfinished:
        save_file(
            {name: value.cpu().contiguous() for name, value in tensors.items()},
            unfinished,
            dict(about) if about else None,
        )
        unfinished.chmod(_READABLE)  # safetensors makes files that only their owner can read
