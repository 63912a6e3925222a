"""Files that are whole or absent: written next to their destination, then moved there."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Yield the path to write to; the file there is moved into place when the block ends, and removed if it fails.

    A killed process leaves `path` as it was before, and perhaps the unfinished file next to it.

    Args:
        path: the destination; its folder is created if it does not exist.
        shared: whether others, threads or processes of this or another machine, may write the same file at the same
            time; each then has an unfinished file of its own.

    Raises:
        OSError: the file cannot be written or moved.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}") if shared else unfinished_path(path)
    try:
        yield unfinished
        unfinished.replace(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


def write_whole(path: Path, data: bytes, *, shared: bool = False) -> None:
    """Write bytes as a file that is whole or absent; see `whole_file`.

    Raises:
        OSError: the file cannot be written or moved.
    """
    with whole_file(path, shared=shared) as unfinished:
        unfinished.write_bytes(data)


def unfinished_path(path: Path) -> Path:
    """Return the path of a file while one process alone writes it."""
    return path.with_name(path.name + ".partial")
