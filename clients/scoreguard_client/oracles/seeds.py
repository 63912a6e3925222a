"""Seeds that follow from a base seed and from what they are for, the same on every machine."""

from __future__ import annotations

import hashlib
from typing import Final

_BYTES: Final = 8
_UNUSED_BITS: Final = 11


def derive_seed(*parts: object) -> int:
    """A seed in [0, 2^53), which JSON readers and SQLite hold exactly: SHA-256 of the parts in their text form."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:_BYTES], "little") >> _UNUSED_BITS


def draw_seeds(base: int, call: int, number: int, count: int) -> list[int]:
    """Seeds of one draw of one call for `count` pictures."""
    return [derive_seed(base, call, number, place) for place in range(count)]
