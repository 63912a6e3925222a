"""AVIF, BMP and GIF: Pillow reads them correctly, in 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import features
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile

from scoreguard.images.source import Source, Watch, check_pixels
from scoreguard.images.values import flat_rgb, orientation_of, upright
from scoreguard.v1.errors import ImageError

_READERS: Final[dict[str, Callable[[Source], ImageFile]]] = {
    "AVIF": AvifImageFile,
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
}
_BMP_WITH_OPACITY: Final = 56
"""Length in bytes of the shortest header that has an opacity mask."""


def read_boxed(kind: str, data: bytes, *, max_pixels: int, watch: Watch) -> npt.NDArray[np.uint8]:
    """Return the values of such a file; for an animation, those of the first frame.

    Raises:
        ImageError: it has too many pixels, or this Pillow does not read AVIF; Pillow's own errors if it is damaged.
    """
    if kind == "AVIF":
        if not features.check("avif"):
            raise ImageError("this Pillow was built without AVIF: install Pillow's own wheel, or convert it to PNG")
        data = _without_exif(data)
    if kind == "BMP":
        _check_bmp(data)
    with _READERS[kind](Source(data, watch)) as image:
        check_pixels(*image.size, max_pixels)
        return flat_rgb(upright(image, orientation_of(image.info.get("exif"))))


def _check_bmp(data: bytes) -> None:
    """Refuse 16-bit opacity, which Pillow drops."""
    size, bits, mask = (int.from_bytes(data[at : at + n], "little") for at, n in ((14, 4), (28, 2), (66, 4)))
    if size >= _BMP_WITH_OPACITY and bits == 16 and mask:
        raise ImageError("a BMP of 16 bits with opacity is not read: convert it to PNG")


def _without_exif(data: bytes) -> bytes:
    """Return the file with its EXIF item renamed.

    An AVIF image is rotated by its own properties, not by EXIF, and a damaged block would make the image unreadable.
    """
    begin = data.find(b"meta")
    if begin < 4:
        return data
    end = begin - 4 + int.from_bytes(data[begin - 4 : begin], "big")
    boxes = data[begin:end]
    return data[:begin] + boxes.replace(b"Exif", b"skip") + data[end:] if b"Exif" in boxes else data
