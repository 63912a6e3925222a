"""WebP: the chunks that make the first frame, in 8 bits.

The decoder refuses the whole file if a profile, EXIF or XMP chunk is truncated, or if the size in the header is wrong.
So it gets a file that has only the chunks of the pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL.WebPImagePlugin import WebPImageFile

from scoreguard.images.source import Source, Watch, check_pixels
from scoreguard.images.values import flat_rgb, orientation_of, upright

_START: Final = 12
_HEADER: Final = 8
_EXTENDED: Final = b"VP8X"
_FRAME: Final = b"ANMF"
_KEPT: Final = (b"VP8 ", b"VP8L", _FRAME, b"ALPH", b"ANIM")
_OPACITY_FLAG, _ANIMATION_FLAG = 0x10, 0x02
_LOOK_EVERY: Final = 4096


@dataclass(frozen=True, kw_only=True)
class _WebP:
    """A parsed WebP file."""

    size: tuple[int, int]
    """Width and height of the canvas: the decoder allocates it on creation."""
    file: bytes
    """The file without its metadata."""
    exif: bytes
    """The first EXIF chunk's data."""


def read_webp(data: bytes, *, max_pixels: int, watch: Watch) -> npt.NDArray[np.uint8]:
    """Return the values of a WebP file; for an animation, those of the first frame.

    Raises:
        ImageError: it has too many pixels; Pillow's own errors if it is damaged.
    """
    webp = _take_apart(data, watch)
    check_pixels(*webp.size, max_pixels)
    with WebPImageFile(Source(webp.file, watch)) as image:
        check_pixels(*image.size, max_pixels)
        return flat_rgb(upright(image, orientation_of(webp.exif)))


def _take_apart(data: bytes, watch: Watch) -> _WebP:
    header, exif = b"", b""
    kept: list[bytes] = []
    size = None
    for number, (kind, begin, end) in enumerate(_chunks(data)):
        if number % _LOOK_EVERY == 0:
            watch.look()
        if kind == _EXTENDED and not header:
            header = data[begin:end]
        elif kind == b"EXIF":
            exif = exif or data[begin:end]
        elif kind in _KEPT and size is None:
            if end > len(data):
                raise ValueError(f"its image ends {end - len(data)} bytes after the file")
            kept.append(_chunk(kind, data[begin:end]))
            size = _size_of(kind, data[begin : begin + 10])
    if header:
        size, extended = _extended(header, animated=bool(kept) and kept[-1].startswith(_FRAME))
        kept.insert(0, extended)
    if size is None:
        raise ValueError("it has no image")
    body = b"WEBP" + b"".join(kept)
    return _WebP(size=size, file=b"RIFF" + len(body).to_bytes(4, "little") + body, exif=exif)


def _extended(header: bytes, *, animated: bool) -> tuple[tuple[int, int], bytes]:
    """Return width and height of the canvas, and the extended header of a file without metadata."""
    if len(header) < 10:
        raise ValueError("its header is cut off")
    flags = header[0] & _OPACITY_FLAG | (_ANIMATION_FLAG if animated else 0)
    size = int.from_bytes(header[4:7], "little") + 1, int.from_bytes(header[7:10], "little") + 1
    return size, _chunk(_EXTENDED, bytes([flags]) + header[1:10])


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each chunk, and where its data begin and end, which may be past the end of the file."""
    at = _START
    while at + _HEADER <= len(data):
        length = int.from_bytes(data[at + 4 : at + _HEADER], "little")
        yield data[at : at + 4], at + _HEADER, at + _HEADER + length
        at += _HEADER + length + length % 2


def _chunk(kind: bytes, data: bytes) -> bytes:
    return kind + len(data).to_bytes(4, "little") + data + b"\0" * (len(data) % 2)


def _size_of(kind: bytes, start: bytes) -> tuple[int, int] | None:
    """Width and height from the first ten bytes of an image; frames of an animation have no separate size here."""
    if kind == b"VP8L":
        packed = int.from_bytes(start[1:5], "little")
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return int.from_bytes(start[6:8], "little") & 0x3FFF, int.from_bytes(start[8:10], "little") & 0x3FFF
    return (0, 0) if kind == _FRAME else None
