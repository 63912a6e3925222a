"""Reading an archive: the manifest, and files that are what the manifest says.

An archive is a `.mar` file (a zip) or the folder that TorchServe unpacked it into. Nothing in it is used before its
digest is confirmed.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from google.protobuf import json_format

from scoreguard.v1.errors import IntegrityError
from scoreguard.v1.manifest_pb2 import ArchiveManifest

FORMAT: Final = 1
"""The layout that this version writes and reads."""
MANIFEST_NAME: Final = "manifest.json"
SUFFIX: Final = ".mar"


def sha256_of(data: bytes) -> str:
    """Digest, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Archive:
    """An archive on disk."""

    path: Path
    """The `.mar` file or the unpacked folder."""

    @cached_property
    def manifest(self) -> ArchiveManifest:
        """The manifest.

        Raises:
            IntegrityError: it is missing, unreadable, or of another format.
        """
        try:
            manifest = json_format.Parse(self._bytes_of(MANIFEST_NAME), ArchiveManifest())
        except (json_format.ParseError, UnicodeDecodeError) as error:
            raise IntegrityError(f"{self.path}: manifest.json cannot be read: {error}") from error
        if manifest.format != FORMAT:
            raise IntegrityError(f"{self.path}: format {manifest.format} is not {FORMAT}; build the archive again")
        return manifest

    @cached_property
    def _digests(self) -> dict[str, str]:
        return {entry.path: entry.sha256 for entry in self.manifest.files}

    @property
    def name(self) -> str:
        """The metric's name."""
        return self.manifest.metric.facts.name

    def digest_of(self, name: str) -> str:
        """SHA-256 that the manifest declares for a file.

        Raises:
            IntegrityError: the manifest does not list the file.
        """
        if name not in self._digests:
            raise IntegrityError(f"{self.path}: the manifest does not list {name}")
        return self._digests[name]

    def read(self, name: str) -> bytes:
        """The bytes of a listed file, digest confirmed.

        Raises:
            IntegrityError: the file is missing, not listed, or changed.
        """
        expected, data = self.digest_of(name), self._bytes_of(name)
        if sha256_of(data) != expected:
            raise IntegrityError(f"{self.path}: {name} was changed after the export; build the archive again")
        return data

    def verify(self) -> None:
        """Confirm every listed file.

        Raises:
            IntegrityError: the first file that is not what the manifest says.
        """
        for name in self._digests:
            self.read(name)

    def _bytes_of(self, name: str) -> bytes:
        try:
            if self.path.is_dir():
                return (self.path / name).read_bytes()
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(name)
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise IntegrityError(f"{self.path}: cannot read {name}: {error}") from error


def archives_in(model_store: Path) -> list[Archive]:
    """The archives of a model store, by file name.

    Raises:
        IntegrityError: the folder is missing or holds no archive.
    """
    paths = sorted(model_store.glob(f"*{SUFFIX}")) if model_store.is_dir() else []
    if not paths:
        raise IntegrityError(f"{model_store}: no {SUFFIX} archive here; run scoreguard-export build first")
    return [Archive(path) for path in paths]


def find_archive(archives: Iterable[Archive], metric: str) -> Archive | None:
    """The archive of a metric, or None."""
    return next((archive for archive in archives if archive.name == metric), None)
