"""What a build made, kept in the model store: the next build takes it as it is where nothing that decides it changed.

    model_store/.builds/<key>.json      one metric, one defence, or the golden score of a metric behind a defence
    model_store/.blobs/<sha256>         the graphs, which the archives use as well

A key is a digest of code, libraries, weights and options: see `fingerprint`. A record counts only where its graphs are
all there and unchanged.
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
        """Where they lie."""
        return self.blobs.model_store / FOLDER

    def find(self, key: str) -> BuildRecord | None:
        """What an earlier build made; None where there is nothing, or not all of it any more."""
        try:
            record = json_format.ParseDict(json.loads(self._path(key).read_bytes()), BuildRecord())
        except (OSError, ValueError, RecursionError, json_format.ParseError):
            return None
        return record if all(self.blobs.holds(entry) for entry in record.files) else None

    def broken(self) -> list[Path]:
        """Records that cannot be used any more."""
        return sorted(path for path in self.folder.glob("*.json") if self.find(path.stem) is None)

    def keep(self, key: str, record: BuildRecord, files: Mapping[str, bytes]) -> BuildRecord:
        """Write the files into the store, then what they are.

        Args:
            key: What the result depends on.
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
