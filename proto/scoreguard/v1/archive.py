"""Reading an archive: the manifest, and files that are what the manifest says.

An archive is a `.mar` file (a zip) or the folder that TorchServe unpacked it into. Nothing in it is used before its
digest is confirmed, and nothing else may be in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from google.protobuf import json_format

from scoreguard.v1 import mar
from scoreguard.v1.errors import IntegrityError
from scoreguard.v1.manifest_check import LARGEST_MANIFEST, check_manifest, kinds_of, size_limit
from scoreguard.v1.manifest_pb2 import ArchiveManifest, FileEntry
from scoreguard.v1.members import members_of, read_member

FORMAT: Final = 1
"""The layout that this version writes and reads."""
MANIFEST_NAME: Final = "manifest.json"
SUFFIX: Final = ".mar"
_LOADED_TOO: Final = (".model", ".tar.gz")
"""Endings of other files that `torchserve --models all` loads from a model store; it loads folders as well."""


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
        data = read_member(self.path, MANIFEST_NAME, LARGEST_MANIFEST)
        try:
            manifest = json_format.Parse(data, ArchiveManifest())
        except (json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
            raise IntegrityError(f"{self.path}: manifest.json cannot be read: {error}") from error
        if manifest.format != FORMAT:
            raise IntegrityError(f"{self.path}: format {manifest.format} is not {FORMAT}; build the archive again")
        return manifest

    @cached_property
    def _entries(self) -> dict[str, FileEntry]:
        return {entry.path: entry for entry in self.manifest.files}

    @property
    def name(self) -> str:
        """The metric's name."""
        return self.manifest.metric.facts.name

    def digest_of(self, name: str) -> str:
        """SHA-256 that the manifest declares for a file.

        Raises:
            IntegrityError: the manifest does not list the file.
        """
        if name not in self._entries:
            raise IntegrityError(f"{self.path}: the manifest does not list {name}")
        return self._entries[name].sha256

    def read(self, name: str) -> bytes:
        """The bytes of a listed file, digest confirmed.

        Raises:
            IntegrityError: the file is missing, not listed, changed, or larger than its kind may be.
        """
        expected, data = self.digest_of(name), read_member(self.path, name, size_limit(self.manifest, name))
        if sha256_of(data) != expected:
            raise IntegrityError(f"{self.path}: {name} was changed after the export; build the archive again")
        return data

    def verify(self) -> None:
        """Confirm that the manifest is one that an export writes, that it names what is there, digests and graphs.

        Raises:
            IntegrityError: the first thing that is not as it should be.
        """
        check_manifest(self.manifest, self.path)
        self._check_members()
        kinds = kinds_of(self.manifest)
        for name in self._entries:
            data = self.read(name)
            if name in kinds and not kinds[name](data):
                raise IntegrityError(f"{self.path}: {name} is no graph; build the archive again")

    def verify_torchserve_files(self) -> None:
        """Confirm that TorchServe would run this version's handler, with its settings, and no other code.

        Raises:
            IntegrityError: the handler file, its settings or TorchServe's description of the archive differ.
        """
        for name, expected in mar.torchserve_files(self.name).items():
            if read_member(self.path, name, len(expected)) != expected:
                raise IntegrityError(f"{self.path}: {name} is not what this version writes; build the archive again")

    def _check_members(self) -> None:
        sizes, own = members_of(self.path), {*mar.NAMES, MANIFEST_NAME}
        if unexpected := sorted(sizes.keys() - self._entries.keys() - own):
            raise IntegrityError(f"{self.path}: {unexpected[0]} is not in the manifest: an archive holds nothing else")
        if missing := sorted((self._entries.keys() | own) - sizes.keys()):
            raise IntegrityError(f"{self.path}: {missing[0]} is missing; build the archive again")
        for name, entry in self._entries.items():
            if sizes[name] != entry.size_bytes:
                raise IntegrityError(
                    f"{self.path}: {name} was changed after the export: it has {sizes[name]} bytes, not "
                    f"{entry.size_bytes}; build the archive again"
                )


def archives_in(model_store: Path) -> list[Archive]:
    """The archives of a model store, by file name.

    Raises:
        IntegrityError: the folder is missing, holds no archive, or something that only looks like one.
    """
    paths = sorted(model_store.glob(f"*{SUFFIX}")) if model_store.is_dir() else []
    if not paths:
        raise IntegrityError(f"{model_store}: no {SUFFIX} archive here; run scoreguard-export build first")
    for path in paths:
        if not path.is_file():
            raise IntegrityError(f"{path} is no file: a model store holds archives as scoreguard-export writes them")
    return [Archive(path) for path in paths]


def check_nothing_else(model_store: Path) -> None:
    """Refuse what plain `torchserve --models all` would load and run beside the archives.

    Raises:
        IntegrityError: a folder, or a file of another kind of archive, that is not hidden.
    """
    for path in sorted(model_store.iterdir()):
        if not path.name.startswith(".") and (path.is_dir() or path.name.endswith(_LOADED_TOO)):
            raise IntegrityError(
                f"{path}: no archive, and `torchserve --models all` would run what is in it; move it elsewhere"
            )


def find_archive(archives: Iterable[Archive], metric: str) -> Archive | None:
    """The archive of a metric, or None."""
    return next((archive for archive in archives if archive.name == metric), None)
