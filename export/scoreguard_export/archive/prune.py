"""Remove what no archive of a model store uses any more: graphs of earlier builds, and their records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scoreguard.v1.archive import archives_in
from scoreguard_export.archive.blob_store import BlobStore
from scoreguard_export.archive.build_records import BuildRecords


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What was removed."""

    files: int
    """Number of shared files removed."""
    size_bytes: int
    records: int
    """Number of records removed: those of builds whose files are gone."""


def prune(model_store: Path) -> Pruned:
    """Remove the shared files that no archive lists, and the records that need them.

    Raises:
        IntegrityError: the folder holds no archive, or one whose manifest cannot be read, so what it uses is unknown.
    """
    blobs = BlobStore(model_store)
    used = [entry for archive in archives_in(model_store) for entry in archive.manifest.files]
    unused = blobs.unused(used)
    size = sum(path.stat().st_size for path in unused)
    for path in unused:
        path.unlink()
    records = BuildRecords(blobs).broken()
    for path in records:
        path.unlink()
    return Pruned(files=len(unused), size_bytes=size, records=len(records))
