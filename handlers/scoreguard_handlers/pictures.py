"""From the picture of a request to values: the server's reading rule.

Files: PNG, JPEG, WebP, TIFF, BMP, PPM, GIF (first frame). EXIF rotation is applied; transparency is laid over white;
palette and CMYK pictures are converted to RGB by Pillow (no ICC profile is applied); grey is repeated over three
channels; 16-bit grey keeps its 16 bits (value / 65535), 16-bit colour is read as 8-bit, as Pillow does.
Raw tensors: uint8, or float32 in [0, 1] that is never rounded.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
import PIL
from PIL import ExifTags, ImageOps, UnidentifiedImageError, features
from PIL import Image as PillowImage

from scoreguard.v1.codec import Picture, from_tensor
from scoreguard.v1.errors import PayloadError
from scoreguard.v1.scoring_pb2 import PRECISION_FLOAT32, PRECISION_UINT8, Image, Precision, Tensor
from scoreguard_handlers.errors import InvalidRequestError, ResourceLimitError, ServingError

FORMATS: Final = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM", "GIF")
_ALPHA_MODES: Final = ("RGBA", "LA", "PA", "RGBa", "La")
_DEEP_MODES: Final = ("I;16", "I;16B", "I;16L", "I")
_FIELD: Final = "image"


@dataclass(frozen=True, kw_only=True)
class DecodedPicture:
    """A picture as values."""

    values: Picture
    """(H, W, 3) RGB, uint8 or float32 in [0, 1]."""
    decoder: str
    """Library that decoded it; empty for a raw tensor."""

    @property
    def precision(self) -> Precision.ValueType:
        """Whether the values are 8-bit integers or floats."""
        return PRECISION_UINT8 if self.values.dtype == np.uint8 else PRECISION_FLOAT32

    def planes(self) -> npt.NDArray[np.float32]:
        """(3, H, W) float32 in [0, 1], contiguous: what a graph reads."""
        planes = self.values.transpose(2, 0, 1)
        if self.values.dtype != np.uint8:
            return np.ascontiguousarray(planes, dtype=np.float32)
        out = np.empty(planes.shape, np.float32)
        return np.divide(planes, np.float32(255), out=out, casting="unsafe")


def decode(image: Image, *, max_pixels: int) -> DecodedPicture:
    """Read the picture of a request.

    Raises:
        InvalidRequestError: no picture, not a picture, truncated, or values that are not in [0, 1].
        ResourceLimitError: more than `max_pixels` pixels; nothing was decoded.
    """
    form = image.WhichOneof("payload")
    if form == "encoded":
        return DecodedPicture(values=_decode_file(image.encoded, max_pixels), decoder=_decoder())
    if form == "tensor":
        return DecodedPicture(values=_read_tensor(image.tensor, max_pixels), decoder="")
    raise InvalidRequestError("the request has no picture: set image.encoded or image.tensor", field=_FIELD)


def encode_png(values: npt.NDArray[np.float32]) -> bytes:
    """(H, W, 3) in [0, 1] → a PNG file, rounded to 8 bits."""
    rounded = np.empty(values.shape, np.uint8)
    for channel in range(values.shape[2]):  # by channel: a large image is not held several times over
        rounded[..., channel] = np.rint(values[..., channel] * 255)
    buffer = io.BytesIO()
    PillowImage.fromarray(rounded).save(buffer, "PNG")
    return buffer.getvalue()


@cache
def _decoder() -> str:
    return f"Pillow {PIL.__version__} libjpeg-turbo {features.version_feature('libjpeg_turbo') or 'no'}"


def _read_tensor(tensor: Tensor, max_pixels: int) -> Picture:
    try:
        values = from_tensor(tensor)
    except PayloadError as error:
        raise InvalidRequestError(str(error), field=f"{_FIELD}.tensor") from error
    _check_pixels(values.shape[1], values.shape[0], max_pixels)
    if values.dtype != np.uint8:
        _check_range(values)
    return values


def _check_range(values: Picture) -> None:
    # NaN compares false, so one test catches NaN, Inf and out-of-range values.
    if not (values.min() >= 0 and values.max() <= 1):
        raise InvalidRequestError(
            "a float32 picture must hold finite values in [0, 1]; clip it or send uint8", field=f"{_FIELD}.tensor"
        )


def _check_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ResourceLimitError(
            f"the picture has {width} x {height} = {width * height} pixels, the limit is {max_pixels}",
            field=_FIELD,
            metadata={"pixels": str(width * height), "limit": str(max_pixels)},
        )


def _decode_file(data: bytes, max_pixels: int) -> Picture:
    if not data:
        raise InvalidRequestError("the picture's file is empty (0 bytes)", field=f"{_FIELD}.encoded")
    try:
        with PillowImage.open(io.BytesIO(data), formats=FORMATS) as picture:
            _check_pixels(*picture.size, max_pixels)
            return _to_rgb(_upright(picture))
    except UnidentifiedImageError as error:
        raise InvalidRequestError(
            f"not a picture: none of {', '.join(FORMATS)} in {len(data)} bytes", field=f"{_FIELD}.encoded"
        ) from error
    except (PillowImage.DecompressionBombError, PillowImage.DecompressionBombWarning) as error:
        raise ResourceLimitError(f"the picture is too large to decode: {error}", field=_FIELD) from error
    except (ServingError, MemoryError):
        raise
    # On a damaged file Pillow's readers raise whatever they stumble over: OSError, struct.error, TypeError, ...
    except Exception as error:
        raise InvalidRequestError(f"the picture is damaged or truncated: {error}", field=f"{_FIELD}.encoded") from error


def _upright(picture: PillowImage.Image) -> PillowImage.Image:
    # Without a rotation `exif_transpose` would copy the whole picture.
    rotated = picture.getexif().get(ExifTags.Base.Orientation, 1) != 1
    return ImageOps.exif_transpose(picture) if rotated else picture


def _to_rgb(picture: PillowImage.Image) -> Picture:
    if picture.mode in _DEEP_MODES:
        return _deep_grey(np.asarray(picture))
    if picture.mode == "F":
        raise ValueError("floating-point files have no defined white; send a float32 tensor")
    if picture.mode in _ALPHA_MODES or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        white = PillowImage.new("RGBA", rgba.size, "white")
        picture = PillowImage.alpha_composite(white, rgba)
    return np.asarray(picture.convert("RGB"))


def _deep_grey(values: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
    grey = values.astype(np.float32) / np.float32(65535)
    return np.ascontiguousarray(np.repeat(np.clip(grey, 0, 1)[..., None], 3, axis=2))
