"""Image files written by hand, sample by sample, so that their values are known without any reader."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

Samples = npt.NDArray[Any]
HEIGHT, WIDTH = 5, 7
"""Odd, so that rows end inside bytes at depths below 8 and at 12."""


def samples(depth: int, channels: int = 1, seed: int = 1) -> Samples:
    """(HEIGHT, WIDTH, channels) random samples, the lowest and the highest among them."""
    values = np.random.default_rng(seed).integers(0, 2**depth, (HEIGHT, WIDTH, channels))
    values[0, 0], values[0, 1] = 0, 2**depth - 1
    return values


def packed(values: Samples, depth: int, order: str = ">") -> bytes:
    """Rows of samples as bits, each row ending on a byte; 16-bit and deeper in the byte order."""
    rows = values.reshape(values.shape[0], -1)
    if depth in (8, 16, 32):
        return rows.astype(f"{order}u{depth // 8}").tobytes()
    bits = rows[:, :, None] >> np.arange(depth - 1, -1, -1) & 1
    return np.packbits(bits.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


def png_chunk(kind: bytes, data: bytes, *, crc: int | None = None) -> bytes:
    """A chunk of a PNG, with a checksum of one's choice."""
    return (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) if crc is None else crc)
    )


def png(values: Samples, depth: int, colour: int, *, before: bytes = b"", interlaced: bool = False) -> bytes:
    """A PNG of unfiltered rows; `before` stands between its header and its data."""
    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    passes = adam7(values) if interlaced else [values]
    rows = b"".join(b"\0" + packed(row[None], depth) for part in passes for row in part)
    body = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + before + body


def adam7(values: Samples) -> list[Samples]:
    """The seven passes of an interlaced PNG."""
    starts = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [values[top::down, left::right] for top, left, down, right in starts]
    return [part for part in parts if part.size]


def tiff(
    data: bytes | Sequence[bytes],
    depth: int | tuple[int, ...],
    photometric: int | None,
    *,
    order: str = "<",
    big: bool = False,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    rows: int | None = None,
    **tags: Any,
) -> bytes:
    """A TIFF of the strips; `tags` are by number, `t339=(1, 1)`; a pair (type, values) sets the type as well."""
    strips = [data] if isinstance(data, bytes) else list(data)
    depths = (depth,) if isinstance(depth, int) else depth
    head = 16 if big else 8
    offsets = list(accumulate([head, *(len(strip) for strip in strips[:-1])]))
    entries: dict[int, tuple[int, tuple[int, ...]]] = {
        256: (4, (size[0],)),
        257: (4, (size[1],)),
        258: (3, depths),
        259: (3, (1,)),
        273: (4, tuple(offsets)),
        277: (3, (len(depths),)),
        278: (4, (rows or size[1],)),
        279: (4, tuple(len(strip) for strip in strips)),
    }
    if photometric is not None:
        entries[262] = (3, (photometric,))
    for name, value in tags.items():
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], (tuple, bytes)):
            entries[int(name[1:])] = value
        else:
            entries[int(name[1:])] = (3, value if isinstance(value, tuple) else (value,))
    body = b"".join(strips)
    return _with_page(body, entries, order, big)


def _with_page(body: bytes, entries: dict[int, tuple[int, Any]], order: str, big: bool) -> bytes:
    field, head = (8, 16) if big else (4, 8)
    wide = "Q" if big else "I"
    codes = {1: "B", 2: "s", 3: "H", 4: "I", 5: "I", 7: "s", 16: "Q"}
    body += b"\0" * (len(body) % 2)
    begin = head + len(body)
    after = begin + (8 if big else 2) + len(entries) * (20 if big else 12) + field
    page, outside = struct.pack(f"{order}{'Q' if big else 'H'}", len(entries)), b""
    for tag, (kind, values) in sorted(entries.items()):
        raw = values if isinstance(values, bytes) else struct.pack(f"{order}{len(values)}{codes[kind]}", *values)
        count = len(raw) if isinstance(values, bytes) else len(values) // (2 if kind == 5 else 1)
        page += struct.pack(f"{order}HH{wide}", tag, kind, count)
        if len(raw) <= field:
            page += raw.ljust(field, b"\0")
        else:
            page += struct.pack(f"{order}{wide}", after + len(outside))
            outside += raw + b"\0" * (len(raw) % 2)
    mark = b"II" if order == "<" else b"MM"
    start = struct.pack(f"{order}HHHQ", 43, 8, 0, begin) if big else struct.pack(f"{order}HI", 42, begin)
    return mark + start + body + page + b"\0" * field + outside


def pnm(form: int, values: Samples, top: int, *, comment: bytes = b"") -> bytes:
    """A PBM, PGM or PPM; forms 1 to 3 are text, bitmaps are 1 = black."""
    height, width = values.shape[:2]
    white = b"" if form in (1, 4) else b"%d\n" % top
    header = b"P%d\n%s%d %d\n%s" % (form, comment, width, height, white)
    if form == 4:
        return header + packed(values, 1)
    if form < 4:
        return header + b" ".join(b"%d" % value for value in values.ravel().tolist()) + b"\n"
    return header + values.astype("u1" if top < 256 else ">u2").tobytes()


def bmp(rows: bytes, bits: int, *, masks: tuple[int, ...] = (), size: tuple[int, int] = (WIDTH, HEIGHT)) -> bytes:
    """A BMP, bottom row first; masks make it a bit-field file (with four of them: of version 4, with opacity)."""
    version_4 = len(masks) == 4
    length = 108 if version_4 else 40
    info = struct.pack("<IiiHHIIiiII", length, *size, 1, bits, 3 if masks else 0, len(rows), 2835, 2835, 0, 0)
    info += struct.pack(f"<{len(masks)}I", *masks)
    info = info.ljust(length, b"\0") if version_4 else info
    return b"BM" + struct.pack("<IHHI", 14 + len(info) + len(rows), 0, 0, 14 + len(info)) + info + rows


def gif(indices: Samples, palette: Samples, *, key: int | None = None, screen: tuple[int, int] | None = None) -> bytes:
    """A GIF of one frame of uncompressed-like codes (a clear code before each run), 4 bits for each index."""
    height, width = indices.shape
    screen = screen or (width, height)
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0b10110011, 0, 0) + palette.astype(np.uint8).tobytes()
    control = b"" if key is None else b"!\xf9\x04" + struct.pack("<BHB", 1, 0, key) + b"\0"
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x04"
    codes = []
    for number, index in enumerate(indices.ravel().tolist()):
        codes += [16] if number % 8 == 0 else []
        codes.append(index)
    bits = "".join(f"{code:05b}" for code in [*codes, 17][::-1])
    raw = int(bits, 2).to_bytes(-(-len(bits) // 8), "little")
    blocks = b"".join(bytes([len(raw[i : i + 255])]) + raw[i : i + 255] for i in range(0, len(raw), 255))
    return head + control + frame + blocks + b"\0;"


def saved(image: PIL.Image.Image, kind: str, **options: Any) -> bytes:
    """An image as Pillow writes it."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(width: int = 32, height: int = 24, seed: int = 3) -> PIL.Image.Image:
    """A smooth coloured image, which lossy formats keep well."""
    y, x = np.mgrid[0:height, 0:width]
    bands = [128 + 90 * np.sin((x * (i + 1) + y) / 9 + i + seed) for i in range(3)]
    return PIL.Image.fromarray(np.stack(bands, axis=2).astype(np.uint8))
