"""Hints on how to turn an array into a valid image, judged by its shape and range."""

from __future__ import annotations

import math
from typing import Final

_COLOURS: Final = 3
_BYTE_TOP, _WORD_TOP = 255, 65535


def shape_hint(shape: tuple[int, ...]) -> str:
    """Return how to convert a shape to (height, width, 3); empty if there is no known way."""
    if 0 in shape or len(shape) not in (2, 3, 4):
        return ""
    if len(shape) == 4:
        return _batch_hint(shape)
    if len(shape) == 2:
        return "repeat the grey over three channels with np.repeat(array[..., None], 3, axis=2)"
    first, _, last = shape
    if last == 1:
        return "repeat the grey over three channels with np.repeat(array, 3, axis=2)"
    if last == 4 and first != _COLOURS:
        return "compose the opacity over white, or leave it out with array[..., :3]"
    if first == _COLOURS:
        return "transpose with array.transpose(1, 2, 0)"
    if first == 1:
        return "repeat the grey over three channels with np.repeat(array[0][..., None], 3, axis=2)"
    if first == 4:
        return "transpose and leave the opacity out with array.transpose(1, 2, 0)[..., :3]"
    return ""


def range_hint(low: float, high: float) -> str:
    """Return how to bring floats that span `low` to `high` into [0, 1]."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "replace NaN and infinite values before sending it"
    if low < 0:
        near = "rescale values in [-1, 1] with (array + 1) / 2" if low >= -1 and high <= 1 and low < -0.5 else ""
        return near or "clip it with array.clip(0, 1), or undo its normalisation"
    if high <= 1.5:
        return "clip it with array.clip(0, 1)"
    if high <= _BYTE_TOP:
        return "divide it by 255, or send it as uint8"
    if high <= _WORD_TOP:
        return "divide it by 65535"
    return "divide it by its white"


def type_hint(kind: str, size: int) -> str:
    """Return how to convert a NumPy type to uint8 or float32, by its kind letter and its size in bytes."""
    if kind == "b":
        return "multiply it by np.uint8(255)"
    if kind == "u" and size == 2:
        return "divide it by np.float32(65535)"
    if kind in "iu":
        return "cast it with array.astype(np.uint8) if its values are 0 to 255"
    if kind == "f":
        return "cast it with array.astype(np.float32)"
    return ""


def _batch_hint(shape: tuple[int, ...]) -> str:
    turned = ".transpose(1, 2, 0)" if shape[1] == _COLOURS and shape[3] != _COLOURS else ""
    if not turned and shape[3] != _COLOURS:
        return ""
    if shape[0] == 1:
        return f"take the image out of its batch with array[0]{turned}"
    return f"send the images of a batch one by one, array[i]{turned}, or as a list by score_batch"
