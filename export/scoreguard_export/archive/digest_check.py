"""Weights files against the digests of the official ones: one's own are built all the same, and it is said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from scoreguard.support.digests import sha256_of_file
from scoreguard_export.archive.weights_store import weights_files


def unofficial(files: Mapping[str, Path]) -> list[str]:
    """One line for each file that is another than the official one of its name, where that one's digest is known.

    Args:
        files: Weights files by name. One that is missing, or whose name is unknown, is for the build to refuse.
    """
    known = weights_files()
    return [
        _line(name, path, known[name].source.sha256)
        for name, path in files.items()
        if name in known and known[name].source.sha256 and path.is_file()
        if sha256_of_file(path) != known[name].source.sha256
    ]


def _line(name: str, path: Path, official: str) -> str:
    return (
        f"{path} is not the official file of {name}: sha256 {sha256_of_file(path)}, not {official}; "
        "it is built as it is, and the manifest records the digest"
    )
