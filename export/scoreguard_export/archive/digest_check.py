"""Compare weights files with the digests of the official ones; others are built too, with a notice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from scoreguard.support.digests import sha256_of_file
from scoreguard_export.archive.weights_store import weights_files


def unofficial(files: Mapping[str, Path]) -> list[str]:
    """Return one line for each file that differs from the official file of its name, if the official digest is known.

    Args:
        files: Weights files by name. Missing files and unknown names are skipped: the build rejects them.
    """
    known = weights_files()
    return [
        _line(name, path, known[name].source.known_digest)
        for name, path in files.items()
        if name in known and known[name].source.sha256 and path.is_file()
        if not known[name].source.knows(sha256_of_file(path))
    ]


def _line(name: str, path: Path, official: str) -> str:
    return (
        f"{path} is not the official file of {name}: sha256 {sha256_of_file(path)}, not {official}; "
        "it is built as it is, and the manifest records the digest"
    )
