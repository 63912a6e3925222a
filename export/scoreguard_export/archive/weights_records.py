"""The digest of each weights file in the folder, beside it: `carn.pth.sha256`, in the format of sha256sum."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from scoreguard.support.whole_files import write_whole

_SUFFIX: Final = ".sha256"


def record(path: Path, sha256: str) -> None:
    """Write down the digest of a file.

    Raises:
        OSError: the folder cannot be written.
    """
    write_whole(_beside(path), f"{sha256}  {path.name}\n".encode())


def recorded(path: Path) -> str:
    """Return the digest that was written down for a file, hexadecimal; empty if there is none."""
    try:
        words = _beside(path).read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return ""
    return words[0] if words else ""


def _beside(path: Path) -> Path:
    return path.with_name(path.name + _SUFFIX)
