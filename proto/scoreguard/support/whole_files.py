"""Files that are whole or absent: written beside their place and moved there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """The path to write to; what is there when the block ends is moved into place, and removed where the block fails.

    A process that is killed leaves what was at `path` before, and perhaps the unfinished file beside it.

    Args:
        path: where the file belongs; its folder is made where there is none.
        shared: whether other processes may write the same file at the same time; each then has an unfinished file of
            its own.

    Raises:
        OSError: the file cannot be written or moved.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}") if shared else unfinished_path(path)
    try:
        yield unfinished
        unfinished.replace(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


def write_whole(path: Path, data: bytes, *, shared: bool = False) -> None:
    """Write bytes as a file that is whole or absent, see `whole_file`.

    Raises:
        OSError: the file cannot be written or moved.
    """
    with whole_file(path, shared=shared) as unfinished:
        unfinished.write_bytes(data)


def unfinished_path(path: Path) -> Path:
    """Where a file is while it is being written by one process alone."""
    return path.with_name(path.name + ".partial")
