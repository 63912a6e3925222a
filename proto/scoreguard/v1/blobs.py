"""Files that the archives of a model store share: each is stored once, under its digest, for all archives.

    model_store/lite.mar  model_store/nima.mar  …        what TorchServe loads: the manifest and the golden image
    model_store/.blobs/<sha256>                          graphs, whole and not compressed

The folder's name begins with a dot because `torchserve --models all` treats any other folder as a model.
"""

from __future__ import annotations

import mmap
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from scoreguard.support.digests import sha256_of_file
from scoreguard.support.shown import shown
from scoreguard.v1.errors import IntegrityError
from scoreguard.v1.manifest_pb2 import FileEntry

FOLDER: Final = ".blobs"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_CONFIRMED: Final[dict[tuple[int, ...], str]] = {}
"""Digests of files by device, inode, size and times: any change of a file changes one of these."""


class MissingBlobError(IntegrityError):
    """A shared file that is not where the archive expects it."""

    def __init__(self, archive: Path, entry: FileEntry, folder: Path) -> None:
        self.archive, self.name, self.sha256, self.folder = archive, entry.path, entry.sha256, folder
        super().__init__(
            f"{archive}: {entry.path} is missing: {folder} has no {entry.sha256[:16]}…; build the archive again, or "
            f"move the archive together with the folder {FOLDER} beside it"
        )


def blob_path(folder: Path, entry: FileEntry) -> Path:
    """Return the path of a shared file.

    Raises:
        IntegrityError: its digest is malformed, and could name some other file.
    """
    if not _DIGEST.fullmatch(entry.sha256):
        raise IntegrityError(
            f"{shown(entry.sha256, 20)} is no SHA-256: the manifest was edited; build the archive again"
        )
    return folder / entry.sha256


def check_size(archive: Path, folder: Path, entry: FileEntry) -> None:
    """Confirm that a shared file exists, is regular, and has the size that the manifest declares.

    Raises:
        IntegrityError: it is not.
    """
    path = blob_path(folder, entry)
    try:
        status = path.stat()
    except OSError as error:
        raise MissingBlobError(archive, entry, folder) from error
    if not stat.S_ISREG(status.st_mode) or status.st_size != entry.size_bytes:
        raise IntegrityError(
            f"{archive}: {entry.path} was changed after the export: {path} has {status.st_size} bytes, not "
            f"{entry.size_bytes}; build the archive again"
        )


@contextmanager
def opened_blob(archive: Path, folder: Path, entry: FileEntry) -> Iterator[bytes | mmap.mmap]:
    """Map the bytes of a shared file without a copy; its digest is not confirmed yet.

    Raises:
        IntegrityError: it is missing, or has another size.
    """
    check_size(archive, folder, entry)
    if not entry.size_bytes:  # an empty file cannot be mapped
        yield b""
        return
    try:
        with (
            blob_path(folder, entry).open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            yield content
    except OSError as error:
        raise IntegrityError(f"{archive}: cannot read {entry.path}: {error.strerror or error}") from error


def confirm(archive: Path, folder: Path, entry: FileEntry) -> None:
    """Confirm the digest of a shared file; one that several archives use is read once unless it changes.

    Raises:
        IntegrityError: it is missing or was changed.
    """
    check_size(archive, folder, entry)
    try:
        found = _digest(blob_path(folder, entry))
    except OSError as error:
        raise IntegrityError(f"{archive}: cannot read {entry.path}: {error.strerror or error}") from error
    if found != entry.sha256:
        raise IntegrityError(f"{archive}: {entry.path} was changed after the export; build the archive again")


def _digest(path: Path) -> str:
    """Return the digest of a file; an unchanged file is read only once."""
    status = path.stat()
    stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if stamp not in _CONFIRMED:
        _CONFIRMED[stamp] = sha256_of_file(path)
    return _CONFIRMED[stamp]
