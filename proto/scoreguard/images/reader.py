"""From the bytes of an image file to values."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Final

from PIL import UnidentifiedImageError

from scoreguard.images.boxed import read_boxed
from scoreguard.images.jpeg import read_jpeg
from scoreguard.images.kinds import MEND, kind_of
from scoreguard.images.png import read_png
from scoreguard.images.pnm import read_pnm
from scoreguard.images.source import MAX_PIXELS, MAX_SECONDS, Check, Watch, never
from scoreguard.images.tiff import read_tiff
from scoreguard.images.webp import read_webp
from scoreguard.support.shown import shown
from scoreguard.v1.codec import ImageArray
from scoreguard.v1.errors import ImageError

_READERS: Final[dict[str, Callable[..., ImageArray]]] = {
    "PNG": read_png,
    "JPEG": read_jpeg,
    "TIFF": read_tiff,
    "PPM": read_pnm,
    "WebP": read_webp,
}
_UNSUPPORTED: Final = re.compile(r"unsupported|unknown|not supported|cannot handle", re.IGNORECASE)


def read_image(
    data: bytes, *, max_pixels: int = MAX_PIXELS, max_seconds: float = MAX_SECONDS, check: Check = never
) -> ImageArray:
    """Return the values of an image file.

    Args:
        data: the whole file.
        max_pixels: a larger image is refused before it is decoded.
        max_seconds: CPU time after which decoding is given up.
        check: called repeatedly while decoding; an exception that it raises stops the work.

    Returns:
        (H, W, 3) RGB, read-only or not: uint8, or float32 in [0, 1] if the file is deeper than 8 bits.

    Raises:
        ImageLimitError: too many pixels, scans, segments or strips, or too long to decode.
        ImageError: not an image, damaged, or of a kind that is not read correctly.
        Exception: any exception that `check` raises.
    """
    kind = kind_of(data)
    watch = Watch(check, max_seconds)
    try:
        watch.look()
        reader = _READERS.get(kind, partial(read_boxed, kind))
        values = reader(data, max_pixels=max_pixels, watch=watch)
        watch.look()
        return values
    except (ImageError, MemoryError):
        raise
    # On a damaged file Pillow's readers raise all kinds of errors: OSError, struct.error, TypeError, ...
    except Exception as error:
        if watch.stopped is not None:
            raise watch.stopped from None
        raise _renamed(error, kind) from error


def _renamed(error: Exception, kind: str) -> ImageError:
    text = shown(error)
    if _UNSUPPORTED.search(text) and not isinstance(error, UnidentifiedImageError):
        return ImageError(f"this {kind} file is of a form that is not read ({text}): {MEND}")
    return ImageError(f"the image is damaged or truncated: {text}")
