"""Names of the files of a data set: those of the images where any system can hold them, else a readable substitute."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Final

CLEAN: Final = "clean"
"""Folder of the clean images."""
ATTACKED: Final = "attacked"
"""Folder of the attacked images."""
_PLAIN: Final = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*")
_DIGITS: Final = 8
_PNG: Final = ".png"


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """Return a file name for each image: its own if it is plain and no other but for its case, else a substitute."""
    plain: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        # A file system that ignores case would hold one of two such files.
        is_free = f"{name}{_PNG}".lower() not in taken and name.lower() not in taken
        plain[name] = name if _PLAIN.fullmatch(name) and is_free else _substitute(name)
        taken |= {plain[name].lower(), attacked_name(plain[name]).lower()}
    return plain


def attacked_name(plain: str) -> str:
    """Return the name of an attacked image's file, which is always PNG, from the plain name of the clean one's."""
    return plain if plain.endswith(_PNG) else f"{plain}{_PNG}"


def folder_name(text: str) -> str:
    """Return a folder for an attack or a chain: what it is, and a digest of its parameters if it has any."""
    stem = _letters(re.split("[:+]", text)[0])
    return stem if text == stem else f"{stem}-{_digest(text)}"


def _substitute(name: str) -> str:
    path = PurePosixPath(name)
    return f"{_letters(path.stem)}-{_digest(name)}{path.suffix.lower() if _PLAIN.fullmatch(path.suffix[1:]) else ''}"


def _letters(text: str) -> str:
    return re.sub("[^A-Za-z0-9_-]+", "-", text).strip("-") or "image"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
