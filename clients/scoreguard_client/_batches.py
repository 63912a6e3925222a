"""Split arrays and tensors of whole batches, channels last or first, into views of single images without copying."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt
import PIL.Image

from scoreguard.support.shown import shown
from scoreguard_client._exceptions import ImageError
from scoreguard_client._images import TensorLike, array_of
from scoreguard_client._requests import ScoreRequest

Layout: TypeAlias = Literal["NHWC", "NCHW"]
"""Position of the channels of a batch: (N, H, W, 3) or (N, 3, H, W)."""

_CHANNEL_AXES: Final[Mapping[Layout, int]] = {"NHWC": 3, "NCHW": 1}
_BATCH_DIMENSIONS: Final = 4
_CHANNELS: Final = 3
_ONE: Final = (str, bytes, bytearray, memoryview, os.PathLike, PIL.Image.Image, ScoreRequest)
T = TypeVar("T")


def items_of(items: T, layout: Layout | None) -> T:
    """The items of a batch or stream; those of an array or a tensor are views, each (H, W, 3).

    Raises:
        ImageError: it is a single image, whose characters or rows are no images, or a batch of another shape.
    """
    if isinstance(items, _ONE):
        raise _single(items)
    if not isinstance(items, np.ndarray) and not _is_tensor(items):
        if layout is not None:
            raise ImageError(f"layout={layout!r} goes with one array or tensor that holds the whole batch")
        return items
    batch = array_of(items)
    if batch.ndim < _BATCH_DIMENSIONS:
        raise _single(items)
    return cast("T", list(_channels_last(batch, layout)))


def _is_tensor(items: object) -> bool:
    # An iterable of images has none of these.
    return not isinstance(items, AsyncIterable) and isinstance(items, TensorLike)


def _channels_last(batch: npt.NDArray[Any], layout: Layout | None) -> Iterable[npt.NDArray[Any]]:
    if batch.ndim != _BATCH_DIMENSIONS:
        raise _shape(batch, "")
    found = [name for name, axis in _CHANNEL_AXES.items() if batch.shape[axis] == _CHANNELS]
    if layout is None and len(found) > 1:
        raise _shape(batch, ": both fit, say which by layout='NHWC' or layout='NCHW'")
    if layout is not None and layout not in found:
        raise _shape(batch, f": it is not {layout}")
    if not found:
        raise _shape(batch, "")
    return batch.transpose(0, 2, 3, 1) if (layout or found[0]) == "NCHW" else batch


def _shape(batch: npt.NDArray[Any], why: str) -> ImageError:
    return ImageError(
        f"a batch must have the shape (N, height, width, 3) or (N, 3, height, width), this one has "
        f"{shown(batch.shape)}{why}"
    )


def _single(items: object) -> ImageError:
    return ImageError(f"a list of images is wanted, not one {type(items).__name__}: put it in brackets, or call score")
