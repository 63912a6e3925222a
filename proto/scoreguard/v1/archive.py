"""Read an archive: the manifest, and files that match it.

An archive is a `.mar` file (a zip) or the folder that TorchServe unpacked it into. Its graphs are inside it, or in the
folder that the archives of a model store share (`blobs`), as the manifest says. Nothing is used before its digest is
confirmed, and an archive may hold nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from google.protobuf import json_format

from scoreguard.support.digests import sha256_of
from scoreguard.support.shown import shown
from scoreguard.v1 import blobs, mar
from scoreguard.v1.errors import IntegrityError
from scoreguard.v1.graph_files import Data, is_pickled
from scoreguard.v1.manifest_check import LARGEST_MANIFEST, check_manifest, kinds_of, size_limit
from scoreguard.v1.manifest_pb2 import ArchiveManifest, FileEntry
from scoreguard.v1.members import members_of, read_member

FORMAT: Final = 2
"""The layout that this version writes and reads. In layout 1, every archive contained all of its graphs."""
MANIFEST_NAME: Final = "manifest.json"
SUFFIX: Final = ".mar"
_LOADED_TOO: Final = (".model", ".tar.gz")
"""Suffixes of other files that `torchserve --models all` loads from a model store; it loads folders as well."""


@dataclass(frozen=True)
class Archive:
    """An archive on disk."""

    path: Path
    """The `.mar` file or the unpacked folder."""
    blob_folder: Path | None = None
    """The folder of shared files; None = `.blobs` next to the archive."""

    @property
    def blobs(self) -> Path:
        """The folder of the files that this archive shares with others."""
        return self.blob_folder or self.path.parent / blobs.FOLDER

    @cached_property
    def manifest(self) -> ArchiveManifest:
        """Read the manifest.

        Raises:
            IntegrityError: it is missing, unreadable, or of another format.
        """
        data = read_member(self.path, MANIFEST_NAME, LARGEST_MANIFEST)
        try:
            content = json.loads(data)
            check_format(content, self.path)
            return json_format.ParseDict(content, ArchiveManifest())
        except (json_format.ParseError, ValueError, RecursionError) as error:
            if isinstance(error, IntegrityError):
                raise
            raise IntegrityError(f"{self.path}: manifest.json cannot be read: {error}") from error

    @cached_property
    def _entries(self) -> dict[str, FileEntry]:
        return {entry.path: entry for entry in self.manifest.files}

    @property
    def name(self) -> str:
        """Return the metric's name."""
        return self.manifest.metric.facts.name

    def digest_of(self, name: str) -> str:
        """Return the SHA-256 that the manifest declares for a file.

        Raises:
            IntegrityError: the manifest does not list the file.
        """
        return self._entry(name).sha256

    def _entry(self, name: str) -> FileEntry:
        if name not in self._entries:
            raise IntegrityError(f"{self.path}: the manifest does not list {name}")
        return self._entries[name]

    def read(self, name: str) -> bytes:
        """Read the bytes of a listed file and confirm its digest.

        Raises:
            IntegrityError: the file is missing, not listed, changed, or larger than its kind may be.
        """
        entry, limit = self._entry(name), size_limit(self.manifest, name)
        if entry.shared:
            with blobs.opened_blob(self.path, self.blobs, entry) as content:
                data = content[:]
        else:
            data = read_member(self.path, name, limit)
        if sha256_of(data) != entry.sha256:
            raise IntegrityError(f"{self.path}: {name} was changed after the export; build the archive again")
        return data

    def size_of(self, name: str) -> int:
        """Return the size in bytes of a listed file.

        Raises:
            IntegrityError: the manifest does not list the file.
        """
        return self._entry(name).size_bytes

    def shared_file(self, name: str) -> Path | None:
        """Return the path of a listed shared file, digest confirmed; None if the file is inside this archive.

        Meant for the largest files, which an engine reads from disk more efficiently than from memory.

        Raises:
            IntegrityError: the file is missing, not listed or changed.
        """
        entry = self._entry(name)
        if not entry.shared:
            return None
        blobs.confirm(self.path, self.blobs, entry)
        return blobs.blob_path(self.blobs, entry)

    def verify(self) -> None:
        """Confirm that an export could have written the manifest, and that it matches the files, digests and graphs.

        Raises:
            IntegrityError: the first mismatch found.
        """
        check_manifest(self.manifest, self.path)
        self._check_members()
        kinds = kinds_of(self.manifest)
        for entry in self._entries.values():
            if problem := self._problem(entry, kinds.get(entry.path, lambda data: True)):
                raise IntegrityError(f"{self.path}: {entry.path} is {problem}")

    def _problem(self, entry: FileEntry, right: Callable[[Data], bool]) -> str:
        """Say what a file is if it is not of its declared kind; its digest is confirmed as well."""
        if not entry.shared:
            return _other_kind(self.read(entry.path), right)
        blobs.confirm(self.path, self.blobs, entry)
        with blobs.opened_blob(self.path, self.blobs, entry) as content:
            return _other_kind(content, right)

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
        inside = {name: entry for name, entry in self._entries.items() if not entry.shared}
        if unexpected := sorted(sizes.keys() - inside.keys() - own):
            raise IntegrityError(f"{self.path}: {unexpected[0]} is not in the manifest: an archive holds nothing else")
        if missing := sorted((inside.keys() | own) - sizes.keys()):
            raise IntegrityError(f"{self.path}: {missing[0]} is missing; build the archive again")
        for name, entry in inside.items():
            if sizes[name] != entry.size_bytes:
                raise IntegrityError(
                    f"{self.path}: {name} was changed after the export: it has {sizes[name]} bytes, not "
                    f"{entry.size_bytes}; build the archive again"
                )


def _other_kind(content: Data, right: Callable[[Data], bool]) -> str:
    if right(content):
        return ""
    if is_pickled(content):
        return (
            "a pickled module, whose code is never run; take its tensors out by `scoreguard-export weights convert`, "
            "and build the archive from them"
        )
    return "no graph; build the archive again"


def check_format(content: object, path: Path) -> None:
    """Refuse a manifest of another layout; the message has the command that rebuilds the archive.

    Args:
        content: The content of the manifest's JSON.
        path: Path of the archive.

    Raises:
        IntegrityError: it is of another format, or has none.
    """
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise IntegrityError(
            f"{path}: an archive of format {shown(str(found), 20)}, this version reads {FORMAT}; build it again: "
            f"scoreguard-export build --metrics {shown(path.stem, 40)} --model-store {path.parent}"
        )


def archives_in(model_store: Path) -> list[Archive]:
    """Return the archives of a model store, ordered by file name.

    Raises:
        IntegrityError: the folder is missing, holds no archive, or holds something that only looks like one.
    """
    paths = sorted(model_store.glob(f"*{SUFFIX}")) if model_store.is_dir() else []
    if not paths:
        raise IntegrityError(f"{model_store}: no {SUFFIX} archive here; run scoreguard-export build first")
    for path in paths:
        if not path.is_file():
            raise IntegrityError(f"{path} is no file: a model store holds archives as scoreguard-export writes them")
    return [Archive(path) for path in paths]


def check_nothing_else(model_store: Path) -> None:
    """Refuse anything else that plain `torchserve --models all` would load and run.

    Raises:
        IntegrityError: a folder, or a file of another kind of archive, that is not hidden.
    """
    for path in sorted(model_store.iterdir()):
        if not path.name.startswith(".") and (path.is_dir() or path.name.endswith(_LOADED_TOO)):
            raise IntegrityError(
                f"{path}: no archive, and `torchserve --models all` would run what is in it; move it elsewhere"
            )


def find_archive(archives: Iterable[Archive], metric: str) -> Archive | None:
    """Return the archive of a metric, or None."""
    return next((archive for archive in archives if archive.name == metric), None)
