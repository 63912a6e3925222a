"""The tags of a TIFF's first page: parsed with bounds, and rewritten without those that do not affect pixels.

A tag's values may be anywhere in the file, so a small file can make a reader copy the same data thousands of times,
and a damaged date must not make the image unreadable. So Pillow gets a file whose first page has only the needed tags.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
FILL_ORDER, ORIENTATION, SAMPLES, ROWS_PER_STRIP, PLANAR = 266, 274, 277, 278, 284
COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT, INK_SET, EXTRA_SAMPLES, SAMPLE_FORMAT = 320, 322, 323, 332, 338, 339
SUBFILE, COEFFICIENTS, SUBSAMPLING, REFERENCE_BLACK_WHITE, DNG_VERSION = 254, 529, 530, 532, 50706

_PIXEL_TAGS: Final = frozenset(
    {
        *(WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, SAMPLES, ROWS_PER_STRIP, PLANAR),
        *(COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT, INK_SET, EXTRA_SAMPLES, SAMPLE_FORMAT),
        *(COEFFICIENTS, SUBSAMPLING, REFERENCE_BLACK_WHITE),
        *(273, 279, 324, 325),  # offsets of strips and tiles
        *(292, 293),  # fax options
        317,  # predictor
        *range(512, 522),  # old-style JPEG
        347,  # JPEG tables
    }
)
_OFFSETS: Final = (273, 324)
_READ_TAGS: Final = frozenset({SUBFILE, ORIENTATION, DNG_VERSION})
_BYTES_OF_TYPE: Final = {
    **dict.fromkeys((1, 2, 6, 7), 1),
    **dict.fromkeys((3, 8), 2),
    **dict.fromkeys((4, 9, 11, 13), 4),
    **dict.fromkeys((5, 10, 12, 16, 17, 18), 8),
}
_CODES: Final = {1: "B", 3: "H", 4: "I", 16: "Q"}
_RATIONAL: Final = 5
_MOST_TAGS: Final = 4096
_MOST_FRACTIONS: Final = 6


@dataclass(frozen=True, kw_only=True)
class Tags:
    """The tags of the first page."""

    order: str
    """`<` or `>`: the byte order."""
    big: bool
    """Whether it is a BigTIFF, with offsets of 64 bits."""
    entries: Mapping[int, bytes]
    """The entry of each tag that affects the pixels, as in the file."""
    pieces: int
    """Strips or tiles."""
    values: Mapping[int, tuple[int, ...]]
    """Integer values of the tags that have only a few."""
    fractions: Mapping[int, tuple[float, ...]]
    """Values of the tags that are fractions; infinite if a denominator is 0."""

    def first(self, tag: int, otherwise: int) -> int:
        """Return a tag's first value."""
        return next(iter(self.values.get(tag, ())), otherwise)

    def rewritten(self, data: bytes, *, photometric: int | None = None) -> bytes:
        """Return the file with a new first page, of these tags only, at its end."""
        entries = dict(self.entries)
        if photometric is not None:
            entries[PHOTOMETRIC] = self._short_entry(PHOTOMETRIC, photometric)
        padding = b"\0" * (-len(data) % 8)
        begin = len(data) + len(padding)
        count = struct.pack(f"{self.order}{'Q' if self.big else 'H'}", len(entries))
        end = b"\0" * (8 if self.big else 4)
        header = data[:8] + struct.pack(f"{self.order}Q", begin) if self.big else data[:4]
        if not self.big:
            header += struct.pack(f"{self.order}I", begin)
        page = b"".join([count, *(entries[tag] for tag in sorted(entries)), end])
        return b"".join([header, memoryview(data)[len(header) :], padding, page])

    def _short_entry(self, tag: int, value: int) -> bytes:
        layout = f"{self.order}HHQH6x" if self.big else f"{self.order}HHIH2x"
        return struct.pack(layout, tag, 3, 1, value)


def read_tags(data: bytes) -> Tags:
    """Return the tags of the first page.

    Raises:
        ValueError: they are outside the file, or claim more bytes than the file has.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = 43 in data[2:4]
    wide, field, size = ("Q", 8, 20) if big else ("I", 4, 12)
    (begin,) = _unpack(f"{order}{wide}", data, 8 if big else 4)
    (count,) = _unpack(f"{order}{'Q' if big else 'H'}", data, begin)
    begin += 8 if big else 2
    if count > _MOST_TAGS or begin + count * size > len(data):
        raise ValueError(f"its first page claims {count} tags")
    entries: dict[int, bytes] = {}
    values: dict[int, tuple[int, ...]] = {}
    fractions: dict[int, tuple[float, ...]] = {}
    claimed = pieces = 0
    for at in range(begin, begin + count * size, size):
        tag, kind, number = _unpack(f"{order}HH{wide}", data, at)
        if tag not in _PIXEL_TAGS and tag not in _READ_TAGS:
            continue
        width = number * _BYTES_OF_TYPE.get(kind, 1)
        claimed += width
        place = at + size - field
        if width > field:
            (place,) = _unpack(f"{order}{wide}", data, place)
        if place + width > len(data) or claimed > len(data):
            if tag in _READ_TAGS:
                continue
            raise ValueError(f"its tag {tag} lies outside the file")
        if tag in _PIXEL_TAGS:
            entries[tag] = data[at : at + size]
        if tag in _OFFSETS:
            pieces = max(pieces, number)
        if (code := _CODES.get(kind)) is not None and number <= 3 * 65536:
            values[tag] = _unpack(f"{order}{number}{code}", data, place)
        elif kind == _RATIONAL and number <= _MOST_FRACTIONS:
            parts = _unpack(f"{order}{2 * number}I", data, place)
            pairs = zip(parts[::2], parts[1::2], strict=True)
            fractions[tag] = tuple(above / below if below else inf for above, below in pairs)
    return Tags(order=order, big=big, entries=entries, pieces=pieces, values=values, fractions=fractions)


def _unpack(layout: str, data: bytes, at: int) -> tuple[int, ...]:
    if at + struct.calcsize(layout) > len(data):
        raise ValueError("its tags lie outside the file")
    return struct.unpack_from(layout, data, at)
