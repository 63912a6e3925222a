"""Convert images to their wire form.

Files (paths and bytes) are sent unchanged and decoded by the server. Arrays are sent as their values: uint8 as uint8,
floats as float32, never rounded to 8 bits. Pillow images are converted to values here, by the server's own rule
(`scoreguard.images`): rotated by their EXIF orientation, composed over white, at the depth of their file. A torch
tensor on the CPU is used as the array that shares its memory, without importing torch.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
import PIL.Image

from scoreguard.images import MAX_PIXELS, kind_of, read_image, read_pillow
from scoreguard.images.array_hints import range_hint, shape_hint, type_hint
from scoreguard.support.shown import shown, shown_path
from scoreguard.v1 import codec
from scoreguard.v1 import errors as contract
from scoreguard.v1.scoring_pb2 import Image
from scoreguard_client._exceptions import ImageError

__all__ = ["ImageLike"]


@runtime_checkable
class TensorLike(Protocol):
    """A torch tensor, on any device, with or without a gradient."""

    def detach(self) -> Any:
        """Drop the autograd graph."""
        ...

    def cpu(self) -> Any:
        """Copy to CPU memory if needed."""
        ...

    def numpy(self) -> Any:
        """Convert to an array."""
        ...


ImageLike: TypeAlias = npt.NDArray[Any] | TensorLike | PIL.Image.Image | str | os.PathLike[str] | bytes
"""(height, width, 3) RGB array (uint8, or float32/float64 in [0, 1]), torch tensor of that shape or (3, height, width),
Pillow image, path, or the bytes of a file."""

_CHANNELS: Final = 3


def to_image(image: ImageLike) -> Image:
    """Wrap an image for a request.

    Raises:
        ImageError: it cannot be sent; nothing was sent.
    """
    if isinstance(image, np.ndarray):
        return Image(tensor=codec.to_tensor(check_array(image)))
    if isinstance(image, PIL.Image.Image):
        return Image(tensor=codec.to_tensor(from_pillow(image)))
    if isinstance(image, (bytes, bytearray, memoryview)):
        return Image(encoded=_check_file(bytes(image), ""))
    if isinstance(image, (str, os.PathLike)):
        path = Path(image)
        return Image(encoded=_check_file(read_bytes(path), f"{shown_path(path)}: "))
    if isinstance(image, TensorLike):
        return Image(tensor=codec.to_tensor(check_array(_channels_last(array_of(image)))))
    hint = ": pass a tensor as tensor.detach().cpu().numpy()" if hasattr(image, "__array__") else ""
    raise ImageError(f"an image is an array, a Pillow image, a path or bytes, not {type(image).__name__}{hint}")


def array_of(values: Any) -> npt.NDArray[Any]:
    """Return a tensor as an array, sharing its memory if possible; return an array unchanged.

    Raises:
        ImageError: NumPy has no such type.
    """
    if isinstance(values, np.ndarray):
        return values
    try:
        return np.asarray(values.detach().cpu().numpy())
    except TypeError as error:  # bfloat16
        kind = getattr(values, "dtype", type(values).__name__)
        raise ImageError(f"a tensor must be uint8, float32 or float64, not {kind}: call tensor.float()") from error


def _channels_last(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Convert a tensor's array to (height, width, 3): torch itself puts the channels first.

    Raises:
        ImageError: both the first and the last dimension have length 3.
    """
    if array.ndim != _CHANNELS or array.shape[0] != _CHANNELS:
        return array
    if array.shape[2] == _CHANNELS:
        raise ImageError(
            f"a tensor of shape {shown(array.shape)} may have its channels at either end: pass it in a batch with "
            "layout='NHWC' or layout='NCHW'"
        )
    return array.transpose(1, 2, 0)


def check_array(array: npt.NDArray[Any]) -> codec.ImageArray:
    """Return the array as uint8 or float32, unchanged in value (float64 is rounded to float32).

    Raises:
        ImageError: the shape, type or values are not an image's; the message says how to fix it.
    """
    if array.ndim != _CHANNELS or array.shape[2] != _CHANNELS or 0 in array.shape:
        hint = _after_colon(shape_hint(array.shape))
        raise ImageError(f"an image array must have the shape (height, width, 3), not {shown(array.shape)}{hint}")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
        hint = _after_colon(type_hint(array.dtype.kind, array.dtype.itemsize))
        raise ImageError(f"an image array must be uint8, float32 or float64, not {array.dtype}{hint}")
    low, high = float(array.min()), float(array.max())
    # NaN also fails the comparison.
    if not (low >= 0 and high <= 1):
        raise ImageError(
            f"float images must lie in [0, 1], without NaN; these values span {low:g} to {high:g}: "
            f"{range_hint(low, high)}"
        )
    return array.astype(np.float32, copy=False)


def from_pillow(image: PIL.Image.Image) -> codec.ImageArray:
    """Return the values of a Pillow image: uint8, or float32 for deeper images.

    Raises:
        ImageError: the image cannot be loaded, is too large, or has values without a known white.
    """
    try:
        return read_pillow(image)
    except contract.ImageError as error:
        raise ImageError(str(error)) from error


def from_file(path: Path, data: bytes, *, max_pixels: int = MAX_PIXELS) -> codec.ImageArray:
    """Decode an image file whose bytes are already read, as the server decodes it.

    Raises:
        ImageError: it is too large, damaged or not an image; the message names the path.
    """
    try:
        return read_image(data, max_pixels=max_pixels)
    except contract.ImageError as error:
        raise ImageError(f"{shown_path(path)}: {error}") from error


def read_bytes(path: Path) -> bytes:
    """Read the bytes of a file.

    Raises:
        ImageError: it cannot be read; the message names the path.
    """
    try:
        return path.read_bytes()
    # A path with a zero byte, for example file contents passed as a path, raises ValueError.
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ImageError(f"cannot read {shown_path(path)}: {reason or error}") from error


def to_pillow(image: npt.NDArray[np.float32]) -> PIL.Image.Image:
    """Convert a float image in [0, 1] to 8 bits, rounded to the nearest level."""
    return PIL.Image.fromarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8))


def _check_file(data: bytes, name: str) -> bytes:
    try:
        kind_of(data)
    except contract.ImageError as error:
        raise ImageError(f"{name}{error}") from error
    return data


def _after_colon(hint: str) -> str:
    return f": {hint}" if hint else ""
