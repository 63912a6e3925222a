"""Known names similar to an unknown one, for suggestions in messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

_ALIKE: Final = 0.4
_MOST: Final = 3
_LONGEST: Final = 128
"""Longest name to compare, in characters: the time grows with the square of the length, and no name is longer."""


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names most similar to a name, best first; case is ignored."""
    by_lower = {other.lower(): other for other in known}
    if len(name) > _LONGEST:
        return []
    return [by_lower[near] for near in difflib.get_close_matches(name.lower(), by_lower, n=_MOST, cutoff=_ALIKE)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean jpeg?`, or all known names if none is similar."""
    every = list(known)
    near = near_names(name, every)
    return f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(every) or 'none'}"
