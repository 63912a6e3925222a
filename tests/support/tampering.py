"""Archives that somebody has edited: each function takes a sound `.mar` and changes one thing in place."""

from __future__ import annotations

import hashlib
import json
import stat
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scoreguard.v1.archive import Archive

MANIFEST = "manifest.json"


def entries_of(archive: Path) -> dict[str, bytes]:
    """Every file of an archive by its name."""
    with zipfile.ZipFile(archive) as source:
        return {name: source.read(name) for name in source.namelist()}


def write_entries(archive: Path, entries: Mapping[str, bytes]) -> None:
    """Write an archive of those files."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in entries.items():
            target.writestr(name, data)


def packed(source: Path, target: Path) -> Path:
    """A copy of an archive that holds the files inside which it shares with others in its model store."""
    archive = Archive(source)
    shared = {entry.path: archive.read(entry.path) for entry in archive.manifest.files if entry.shared}
    write_entries(target, entries_of(source) | shared)
    with_manifest(target, lambda manifest: [entry.pop("shared", None) for entry in manifest["files"]])
    return target


def with_entry(archive: Path, name: str, data: bytes) -> None:
    """Add a file, or put other bytes in its place; the manifest stays."""
    write_entries(archive, entries_of(archive) | {name: data})


def without_entry(archive: Path, name: str) -> None:
    """Leave a file out; the manifest stays."""
    write_entries(archive, {key: data for key, data in entries_of(archive).items() if key != name})


def with_manifest(archive: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Edit the manifest, a dictionary of plain JSON."""
    entries = entries_of(archive)
    manifest = json.loads(entries[MANIFEST])
    change(manifest)
    write_entries(archive, entries | {MANIFEST: json.dumps(manifest).encode()})


def with_rewritten_graph(archive: Path, name: str, data: bytes) -> None:
    """Put other bytes in the place of a file, and mend its digest and size in the manifest."""

    def mended(manifest: dict[str, Any]) -> None:
        (entry,) = (entry for entry in manifest["files"] if entry["path"] == name)
        size = "size_bytes" if "size_bytes" in entry else "sizeBytes"
        entry.update({"sha256": hashlib.sha256(data).hexdigest(), size: str(len(data))})

    with_entry(archive, name, data)
    with_manifest(archive, mended)


def append_entry(archive: Path, entry: zipfile.ZipInfo | str, data: bytes = b"x") -> None:
    """Add an entry as it is given, whatever its name or kind."""
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as target:
        target.writestr(entry, data)


def link(name: str) -> zipfile.ZipInfo:
    """An entry that unpacks to a symbolic link."""
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return entry


def raw_name(name: str) -> zipfile.ZipInfo:
    """An entry whose name is written as it is: Python would turn a backslash of Windows into a slash."""
    entry = zipfile.ZipInfo("placeholder")
    entry.filename = name
    return entry
