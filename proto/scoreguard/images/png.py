"""PNG: the chunks that define the pixels, at any depth.

Text, colour profiles, gamma and animation are removed before Pillow sees the file: none of them changes a sample here,
and a damaged one must not make the image unreadable.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL.PngImagePlugin import PngImageFile

from scoreguard.images.source import Source, Watch, check_pixels
from scoreguard.images.values import deep_rgb, flat_rgb, orientation_of, upright, upright_array
from scoreguard.v1.codec import ImageArray
from scoreguard.v1.errors import ImageError

_START: Final = 8
_DATA: Final = b"IDAT"
_BY_COLOUR: Final = {b"PLTE": b"\3", b"tRNS": b"\0\2\3"}
"""Chunks that affect the pixels of some colour types only; in a file of another type they have no meaning."""
_HEADER_SIZE: Final = 13
_GREY, _RGB, _GREY_ALPHA, _RGB_ALPHA = 0, 2, 4, 6
_DEEP: Final = 16
_LOOK_EVERY: Final = 4096


@dataclass(frozen=True, kw_only=True)
class _Png:
    """A parsed PNG file."""

    header: bytes
    """The data of its IHDR chunk."""
    body: list[memoryview]
    """The other chunks that define the pixels, framed, in order."""
    key: bytes
    """The data of its tRNS chunk; empty if there is none."""
    exif: bytes
    """The data of its eXIf chunk."""

    @property
    def depth(self) -> int:
        """Return the bits per sample."""
        return self.header[8]

    @property
    def colour(self) -> int:
        """Return the colour type."""
        return self.header[9]

    def file(self, *, depth: int | None = None, colour: int | None = None) -> bytes:
        """Return a PNG file with the same compressed bytes, declared with another depth or colour type."""
        header = bytearray(self.header)
        header[8], header[9] = depth or self.depth, self.colour if colour is None else colour
        return b"".join([_SIGNATURE, _chunk(b"IHDR", bytes(header)), *self.body, _chunk(b"IEND", b"")])


_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


def read_png(data: bytes, *, max_pixels: int, watch: Watch) -> ImageArray:
    """Return the values of a PNG file; for an animation, those of the default image.

    Raises:
        ImageError: it cannot be read; Pillow's own errors if it is damaged.
    """
    png = _take_apart(data, watch)
    check_pixels(int.from_bytes(png.header[:4], "big"), int.from_bytes(png.header[4:8], "big"), max_pixels)
    orientation = orientation_of(png.exif)
    if png.depth == _DEEP:
        return upright_array(_deep(png, watch), orientation)
    with PngImageFile(Source(png.file(), watch)) as image:
        if png.key and png.colour in (_GREY, _RGB):
            image.load()
            image.info["transparency"] = _shallow_key(png)
        return flat_rgb(upright(image, orientation))


def _take_apart(data: bytes, watch: Watch) -> _Png:
    header, key, exif = b"", b"", b""
    body: list[memoryview] = []
    view = memoryview(data)
    for number, (kind, begin, end) in enumerate(_chunks(data)):
        if number % _LOOK_EVERY == 0:
            watch.look()
        if kind == b"IHDR" and not header:
            header = data[begin:end]
        elif kind == b"eXIf":
            exif = data[begin:end]
        elif kind == _DATA or header[9:10] in _BY_COLOUR.get(kind, b""):
            body.append(view[begin - _START : end + 4])
            key = data[begin:end] if kind == b"tRNS" else key
        elif kind not in _BY_COLOUR and not kind[:1].islower():
            raise ValueError(f"it has an unknown critical chunk {kind!r}")
    if len(header) != _HEADER_SIZE:
        raise ValueError("it has no valid header")
    return _Png(header=header, body=body, key=key, exif=exif)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each chunk, and where its data begin and end; a truncated file ends early."""
    at = _START
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"IEND":
            return
        yield kind, at + 8, at + 8 + length
        at += 12 + length


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def _shallow_key(png: _Png) -> int | tuple[int, ...]:
    """Return the transparent colour on the scale of Pillow's samples: only the bits of the depth count, scaled to 8."""
    top = 2**png.depth - 1
    levels = tuple((level & top) * 255 // top for level in np.frombuffer(png.key, ">u2").tolist())
    wanted = 1 if png.colour == _GREY else 3
    if len(levels) != wanted:
        raise ValueError(f"its transparent colour has {len(levels)} samples instead of {wanted}")
    return levels[0] if wanted == 1 else levels


def _deep(png: _Png, watch: Watch) -> ImageArray:
    samples = _deep_samples(png, watch)
    key = tuple(np.frombuffer(png.key, ">u2").tolist()) if png.key and png.colour in (_GREY, _RGB) else None
    if key is not None and len(key) != samples.shape[2]:
        raise ValueError(f"its transparent colour has {len(key)} samples instead of {samples.shape[2]}")
    alpha = png.colour in (_GREY_ALPHA, _RGB_ALPHA)
    return deep_rgb(samples, top=65535, alpha=alpha, key=key)


def _deep_samples(png: _Png, watch: Watch) -> npt.NDArray[np.uint16]:
    """Return (H, W, channels) in 16 bits.

    Pillow keeps 8 of the 16 bits of everything but plain grey. So its decoder reads the high and the low bytes
    separately: grey with opacity as if its four bytes were 8-bit RGBA, colours by reading the file once for each.
    """
    if png.colour == _GREY:
        with PngImageFile(Source(png.file(), watch)) as image:
            return np.asarray(image).astype(np.uint16)[..., None]
    if png.colour == _GREY_ALPHA:
        with PngImageFile(Source(png.file(depth=8, colour=_RGB_ALPHA), watch)) as image:
            octets = np.ascontiguousarray(image)
        return octets.view(">u2").astype(np.uint16)
    if png.colour in (_RGB, _RGB_ALPHA):
        raw = {_RGB: "RGB;16", _RGB_ALPHA: "RGBA;16"}[png.colour]
        high = _octets(png, f"{raw}B", watch).astype(np.uint16)
        high <<= 8
        high |= _octets(png, f"{raw}L", watch)
        return high
    raise ImageError(f"a PNG of colour type {png.colour} cannot have 16 bits; save it again")


def _octets(png: _Png, raw_mode: str, watch: Watch) -> npt.NDArray[np.uint8]:
    with PngImageFile(Source(png.file(), watch)) as image:
        image.tile = [tile._replace(args=raw_mode) for tile in image.tile]
        return np.asarray(image)
