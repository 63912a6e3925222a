"""Writing the files that the archives of a model store share, and finding those that are no longer used."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from scoreguard.support.digests import sha256_of, sha256_of_file
from scoreguard.support.whole_files import write_whole
from scoreguard.v1.blobs import FOLDER, blob_path
from scoreguard.v1.manifest_pb2 import FileEntry


@dataclass(frozen=True)
class BlobStore:
    """The shared files of a model store, each stored once under its digest."""

    model_store: Path

    @property
    def folder(self) -> Path:
        """Folder of the shared files."""
        return self.model_store / FOLDER

    def add(self, name: str, data: bytes) -> FileEntry:
        """Write a file unless the store already has it.

        Args:
            name: Its path in the archives that use it.
            data: Its content.

        Raises:
            OSError: the file cannot be written.
        """
        entry = FileEntry(path=name, sha256=sha256_of(data), size_bytes=len(data), shared=True)
        if not self.holds(entry):
            write_whole(blob_path(self.folder, entry), data, shared=True)
        return entry

    def holds(self, entry: FileEntry) -> bool:
        """Return whether the store has a file, unchanged."""
        path = blob_path(self.folder, entry)
        try:
            return path.stat().st_size == entry.size_bytes and sha256_of_file(path) == entry.sha256
        except OSError:
            return False

    def read(self, entry: FileEntry) -> bytes:
        """Return the content of a file that the store has."""
        return blob_path(self.folder, entry).read_bytes()

    def unused(self, used: Iterable[FileEntry]) -> list[Path]:
        """Return the files of the store that are not among those given."""
        names = {entry.sha256 for entry in used}
        return sorted(path for path in self.folder.glob("*") if path.name not in names)
