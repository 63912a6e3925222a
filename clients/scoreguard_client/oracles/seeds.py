"""Seeds derived from a base seed and their purpose, the same on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

_BYTES: Final = 8
_UNUSED_BITS: Final = 11


class Questions:
    """Numbers the queries of an oracle, so that each draws anew; oracles that share one never repeat a draw."""

    def __init__(self, asked: int = 0) -> None:
        self._asked = asked

    def next(self) -> int:
        """Return the number of the next query, from 1."""
        self._asked += 1
        return self._asked

    def apart(self) -> Questions:
        """Return a separate counter that continues from here."""
        return Questions(self._asked)


def derive_seed(*parts: object) -> int:
    """Derive a seed in [0, 2^53), exact in JSON readers and SQLite, from the SHA-256 of the parts' text form."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:_BYTES], "little") >> _UNUSED_BITS


def base_seeds(seeds: int | Sequence[int], count: int) -> list[int]:
    """Return one base seed for each of `count` images: those given, or derived from one by the image's index.

    Raises:
        ValueError: there are not exactly `count`.
    """
    if isinstance(seeds, int):
        return [derive_seed(seeds, index) for index in range(count)]
    if len(seeds) != count:
        raise ValueError(f"{count} images need as many seeds, not {len(seeds)}")
    return list(seeds)


def draw_seeds(base: int, call: int, draws: int) -> list[int]:
    """Return the seeds of every draw of one call about one image; they do not depend on the rest of its batch."""
    return [derive_seed(base, call, number) for number in range(draws)]


def draws_each(draws: int | Sequence[int], count: int) -> list[int]:
    """Return the number of draws of each of `count` images: one for all, or one for each.

    Raises:
        ValueError: there are not exactly `count`, or one is below 1.
    """
    each = [draws] * count if isinstance(draws, int) else list(draws)
    if len(each) != count:
        raise ValueError(f"{count} images need as many numbers of draws, not {len(each)}")
    if min(each, default=1) < 1:
        raise ValueError(f"draws must be at least 1, not {min(each)}")
    return each
