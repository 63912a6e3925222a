"""Pictures to the wire.

Files (paths and bytes) travel as they are and are decoded by the server. Arrays travel as their values: uint8 as
uint8, floats as float32, never rounded to 8 bits. Pillow images are turned into values here, by the server's rule:

1. the EXIF rotation is applied;
2. transparency (RGBA, LA, palette or colour key) is composed over white;
3. 16-bit grey is divided by 65535 and stays float; everything else is 8-bit, 16-bit colour too, as Pillow reads it;
4. grey is repeated to three channels; palette, CMYK and other colour spaces are converted by Pillow, without ICC.

Two kinds have no known white, so they are taken only where they cannot be misread: float images in [0, 1] and 32-bit
grey up to 65535.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageOps

from scoreguard.v1 import codec
from scoreguard.v1.scoring_pb2 import Image
from scoreguard_client._exceptions import PictureError

__all__ = ["PictureLike"]

PictureLike: TypeAlias = npt.NDArray[Any] | PIL.Image.Image | str | os.PathLike[str] | bytes
"""(height, width, 3) RGB array (uint8, or float32/float64 in [0, 1]), Pillow image, path, or the bytes of a file."""

_FORMATS: Final = "PNG, JPEG, WebP, TIFF, BMP, PPM or GIF"
_SIGNATURES: Final = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    b"BM",
    *(b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"),
    *(b"GIF87a", b"GIF89a"),
)
_CHANNELS: Final = 3
_SIXTEEN_BIT: Final = 65535


def to_image(picture: PictureLike) -> Image:
    """Wrap a picture for a request.

    Raises:
        PictureError: it cannot be sent; nothing was sent.
    """
    if isinstance(picture, np.ndarray):
        return Image(tensor=codec.to_tensor(check_array(picture)))
    if isinstance(picture, PIL.Image.Image):
        return Image(tensor=codec.to_tensor(from_pillow(picture)))
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return Image(encoded=_check_file(bytes(picture), "the picture"))
    if isinstance(picture, (str, os.PathLike)):
        return Image(encoded=_read_file(Path(picture)))
    raise PictureError(f"a picture is an array, a Pillow image, a path or bytes, not {type(picture).__name__}")


def check_array(array: npt.NDArray[Any]) -> codec.Picture:
    """The array as uint8 or float32, unchanged in value (float64 is rounded to float32).

    Raises:
        PictureError: the shape, type or values are not a picture's.
    """
    if array.ndim != _CHANNELS or array.shape[2] != _CHANNELS or 0 in array.shape:
        raise PictureError(f"a picture array must have the shape (height, width, 3), not {array.shape}")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
        raise PictureError(f"a picture array must be uint8, float32 or float64, not {array.dtype}")
    low, high = float(array.min()), float(array.max())
    # NaN fails the comparison as well.
    if not (low >= 0 and high <= 1):
        raise PictureError(f"float pictures must lie in [0, 1], without NaN; these values span {low:g} to {high:g}")
    return array.astype(np.float32, copy=False)


def from_pillow(image: PIL.Image.Image) -> codec.Picture:
    """The values of a Pillow image by the rule above: uint8, or float32 for 16-bit and float images.

    Raises:
        PictureError: the image cannot be loaded, or has values outside its range.
    """
    try:
        upright = PIL.ImageOps.exif_transpose(image)
        is_deep = upright.mode in {"F", "I"} or upright.mode.startswith("I;16")
        values = _deep_grey(upright) if is_deep else np.asarray(_flatten(upright))
    # Pillow loads late, and on a damaged file its readers raise whatever they stumble over (struct.error, TypeError).
    except Exception as error:
        raise PictureError(f"the picture cannot be loaded: {error}") from error
    return check_array(values)


def to_pillow(picture: npt.NDArray[np.float32]) -> PIL.Image.Image:
    """An 8-bit image of a float picture in [0, 1], rounded to the nearest level."""
    return PIL.Image.fromarray(np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8))


def _deep_grey(image: PIL.Image.Image) -> npt.NDArray[np.float64]:
    grey = np.asarray(image, dtype=np.float64)
    scaled = grey if image.mode == "F" else grey / _SIXTEEN_BIT
    return np.repeat(scaled[..., None], _CHANNELS, axis=2)


def _flatten(image: PIL.Image.Image) -> PIL.Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    white = PIL.Image.new("RGBA", layer.size, "white")
    return PIL.Image.alpha_composite(white, layer).convert("RGB")


def _read_file(path: Path) -> bytes:
    try:
        return _check_file(path.read_bytes(), str(path))
    except OSError as error:
        raise PictureError(f"cannot read {path}: {error.strerror or error}") from error


def _check_file(data: bytes, name: str) -> bytes:
    if not data:
        raise PictureError(f"{name} is empty")
    if not (data.startswith(_SIGNATURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")):
        raise PictureError(f"{name} is not a {_FORMATS} file")
    return data
