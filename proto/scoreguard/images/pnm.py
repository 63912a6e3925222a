"""PBM, PGM and PPM, at any depth.

Pillow reads only 8 bits of colours, and loops over the samples in Python if white is neither 255 nor 65535; such binary
files are read here.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
from PIL.PpmImagePlugin import PpmImageFile

from scoreguard.images.source import Source, Watch, check_pixels
from scoreguard.images.values import deep_rgb, flat_rgb
from scoreguard.v1.codec import ImageArray
from scoreguard.v1.errors import ImageError

_BETWEEN: Final = rb"(?:\s|#[^\r\n]*[\r\n])+"
_SIZE: Final = re.compile(rb"P([1-6])" + _BETWEEN + rb"(\d{1,10})" + _BETWEEN + rb"(\d{1,10})(?=\s|#)")
_WHITE: Final = re.compile(_BETWEEN + rb"(\d{1,10})\s")
_BITMAPS: Final = (1, 4)
_PLAIN: Final = (1, 2, 3)
_PLAIN_COLOURS, _BINARY_GREY, _BINARY_COLOURS = 3, 5, 6
_EIGHT_BIT, _SIXTEEN_BIT = 255, 65535
_HEADER_LIMIT: Final = 65536
_COMMENT: Final = re.compile(rb"#[^\r\n]*")
_LOOK_EVERY: Final = 4096


def read_pnm(data: bytes, *, max_pixels: int, watch: Watch) -> ImageArray:
    """Return the values of a PBM, PGM or PPM file; if it holds several images, those of the first.

    Raises:
        ImageError: it cannot be read; ValueError if it is damaged.
    """
    size = _SIZE.match(data[:_HEADER_LIMIT])
    if size is None:
        raise ValueError("its header cannot be read")
    form, width, height = (int(part) for part in size.groups())
    if not width * height:
        raise ValueError("it has no pixels")
    check_pixels(width, height, max_pixels)
    if form not in _BITMAPS:
        white = _WHITE.match(data[:_HEADER_LIMIT], size.end())
        if white is None or not 0 < (top := int(white[1])) <= _SIXTEEN_BIT:
            raise ValueError("its white must be a number from 1 to 65535")
        if form in (_BINARY_GREY, _BINARY_COLOURS) and top != _EIGHT_BIT:
            return _binary(data, white.end(), (height, width, 1 if form == _BINARY_GREY else 3), top)
        if form == _PLAIN_COLOURS and top > _EIGHT_BIT:
            raise ImageError("a plain PPM deeper than 8 bits is not read: save it as binary PPM (P6) or 16-bit PNG")
    with PpmImageFile(Source(_without_comments(data, watch) if form in _PLAIN else data, watch)) as image:
        if image.mode.startswith("I"):
            return deep_rgb(np.asarray(image)[..., None], top=_SIXTEEN_BIT)
        return flat_rgb(image)


def _without_comments(data: bytes, watch: Watch) -> bytes:
    """Remove the comments of a plain file: Pillow copies the rest of the file for each one, and cannot be stopped."""
    kept, at = bytearray(), 0
    for number, comment in enumerate(_COMMENT.finditer(data)):
        if number % _LOOK_EVERY == 0:
            watch.look()
        kept += data[at : comment.start()]
        at = comment.end()
    kept += data[at:]
    return bytes(kept)


def _binary(data: bytes, begin: int, shape: tuple[int, int, int], top: int) -> ImageArray:
    dtype = np.dtype("u1" if top <= _EIGHT_BIT else ">u2")
    count = int(np.prod(shape))
    if len(data) - begin < count * dtype.itemsize:
        raise ValueError(f"it has {len(data) - begin} bytes of samples instead of {count * dtype.itemsize}")
    samples = np.frombuffer(data, dtype, count, begin).reshape(shape)
    if samples.max() > top:
        raise ValueError(f"a sample is above its white, {top}")
    if top > _EIGHT_BIT:
        return deep_rgb(samples, top=top)
    levels = np.rint(np.arange(top + 1) * _EIGHT_BIT / top).astype(np.uint8)[samples]
    return np.ascontiguousarray(np.broadcast_to(levels, (*shape[:2], 3)))
