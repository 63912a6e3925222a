"""Convert a request's image to values: files by the rules of `scoreguard.images`, raw tensors unchanged.

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
from PIL import Image as PillowImage
from PIL import features

from scoreguard.images import read_image
from scoreguard.images.array_hints import range_hint, shape_hint
from scoreguard.images.source import check_pixels
from scoreguard.v1.codec import ImageArray, from_tensor
from scoreguard.v1.errors import ImageError, ImageLimitError, PayloadError
from scoreguard.v1.scoring_pb2 import PRECISION_FLOAT32, PRECISION_UINT8, Image, Precision, Tensor
from scoreguard_handlers.errors import InvalidRequestError, ResourceLimitError
from scoreguard_handlers.worker.deadline import Deadline
from scoreguard_handlers.worker.wire import Buffer

_STAGE: Final = "decode"
_NEVER: Final = Deadline()
_FIELD: Final = "image"


@dataclass(frozen=True, kw_only=True)
class DecodedImage:
    """An image as values."""

    values: ImageArray
    """(H, W, 3) RGB, uint8 or float32 in [0, 1]."""
    decoder: str
    """Library that decoded it; empty for a raw tensor."""

    @property
    def precision(self) -> Precision.ValueType:
        """Whether the values are 8-bit integers or floats."""
        return PRECISION_UINT8 if self.values.dtype == np.uint8 else PRECISION_FLOAT32

    def planes(self) -> npt.NDArray[np.float32]:
        """Return (3, H, W) float32 in [0, 1], contiguous: the input of a graph."""
        planes = self.values.transpose(2, 0, 1)
        if self.values.dtype != np.uint8:
            # Always a copy, and so aligned: the values may be anywhere in the message.
            return np.array(planes, np.float32, order="C")
        out = np.empty(planes.shape, np.float32)
        return np.divide(planes, np.float32(255), out=out, casting="unsafe")


def decode(image: Image, data: Buffer | None = None, *, max_pixels: int, deadline: Deadline = _NEVER) -> DecodedImage:
    """Read the image of a request, unless it is no longer needed.

    Args:
        image: the form, shape and type of the image.
        data: its bytes; None = they are in `image`.
        max_pixels: largest image.
        deadline: when the work is no longer needed.

    Raises:
        InvalidRequestError: no image, one that cannot be read correctly, or values that are not in [0, 1].
        ResourceLimitError: more than `max_pixels` pixels (nothing was decoded), or too costly to decode.
        TooLateError: the deadline passed in the meantime.
    """
    form = image.WhichOneof("payload")
    if form == "encoded":
        file = image.encoded if data is None else bytes(data)
        return DecodedImage(values=_decode_file(file, max_pixels, deadline), decoder=_decoder())
    if form == "tensor":
        return DecodedImage(values=_read_tensor(image.tensor, data, max_pixels), decoder="")
    raise InvalidRequestError("the request has no image: set image.encoded or image.tensor", field=_FIELD)


def encode_png(values: npt.NDArray[np.float32]) -> bytes:
    """Encode (H, W, 3) in [0, 1] as a PNG file, rounded to 8 bits."""
    rounded = np.empty(values.shape, np.uint8)
    for channel in range(values.shape[2]):  # by channel, to avoid several copies of a large image
        rounded[..., channel] = np.rint(values[..., channel] * 255)
    buffer = io.BytesIO()
    PillowImage.fromarray(rounded).save(buffer, "PNG")
    return buffer.getvalue()


@cache
def _decoder() -> str:
    return f"Pillow {PIL.__version__} libjpeg-turbo {features.version_feature('libjpeg_turbo') or 'no'}"


def _decode_file(data: bytes, max_pixels: int, deadline: Deadline) -> ImageArray:
    try:
        return read_image(data, max_pixels=max_pixels, check=lambda: deadline.check(_STAGE))
    except ImageLimitError as error:
        raise _over_limit(error) from error
    except ImageError as error:
        raise InvalidRequestError(str(error), field=f"{_FIELD}.encoded") from error


def _read_tensor(tensor: Tensor, data: Buffer | None, max_pixels: int) -> ImageArray:
    try:
        values = from_tensor(tensor, data)
        check_pixels(values.shape[1], values.shape[0], max_pixels)
    except PayloadError as error:
        hint = shape_hint(tuple(tensor.shape))
        raise InvalidRequestError(f"{error}{hint and f': {hint}'}", field=f"{_FIELD}.tensor") from error
    except ImageLimitError as error:
        raise _over_limit(error) from error
    if values.dtype != np.uint8:
        _check_range(values)
    return values


def _over_limit(error: ImageLimitError) -> ResourceLimitError:
    facts = {error.what: f"{error.value:.15g}", "limit": f"{error.limit:.15g}"}
    return ResourceLimitError(str(error), field=_FIELD, metadata=facts)


def _check_range(values: ImageArray) -> None:
    low, high = float(values.min()), float(values.max())
    # NaN compares false, so one test catches NaN, Inf and out-of-range values.
    if not (low >= 0 and high <= 1):
        raise InvalidRequestError(
            f"a float32 image must hold finite values in [0, 1], these span {low:g} to {high:g}: "
            f"{range_hint(low, high)}",
            field=f"{_FIELD}.tensor",
        )
