"""Build results, kept in the model store: the next build reuses those whose inputs have not changed.

    model_store/.builds/<key>.json      one metric, one defence, or the golden score of a metric behind a defence
    model_store/.blobs/<sha256>         the graphs, which the archives use too

A key is a digest of code, libraries, weights and options: see `fingerprint`. A record is valid only if all its graphs
are present and unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from google.protobuf import json_format

from scoreguard.support.whole_files import write_whole
from scoreguard.v1.manifest_pb2 import BuildRecord
from scoreguard_export.archive.blob_store import BlobStore
from scoreguard_export.archive.mar import message_json

FOLDER: Final = ".builds"


@dataclass(frozen=True)
class BuildRecords:
    """The records of a model store."""

    blobs: BlobStore

    @property
    def folder(self) -> Path:
        """Folder of the records."""
        return self.blobs.model_store / FOLDER

    def find(self, key: str) -> BuildRecord | None:
        """Return what an earlier build made; None if there is nothing or part of it is gone."""
        try:
            record = json_format.ParseDict(json.loads(self._path(key).read_bytes()), BuildRecord())
        except (OSError, ValueError, RecursionError, json_format.ParseError):
            return None
        return record if all(self.blobs.holds(entry) for entry in record.files) else None

    def broken(self) -> list[Path]:
        """Return the records that can no longer be used."""
        return sorted(path for path in self.folder.glob("*.json") if self.find(path.stem) is None)

    def keep(self, key: str, record: BuildRecord, files: Mapping[str, bytes]) -> BuildRecord:
        """Write the files into the store, then the record that describes them.

        Args:
            key: Digest of what the result depends on.
            record: The artifact; the files are added to it.
            files: The graphs, by their path in an archive.

        Raises:
            OSError: the model store cannot be written.
        """
        record.files.extend(self.blobs.add(name, data) for name, data in sorted(files.items()))
        write_whole(self._path(key), message_json(record), shared=True)
        return record

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"
