"""Arithmetic done image by image, so that the last bit of a result does not depend on the batch.

numpy sums a batch in an order that depends on its shape, BLAS multiplies in blocks, and torch's vector kernels round
the values at the end of an array differently from those before. Sums, convolutions and Adam therefore see one image at
a time; element-wise operations with a single rounding may see the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from scoreguard_client.oracles.arrays import functions, is_host

Totals = npt.NDArray[np.float64]
"""One number for each image, ready to multiply with it: (N, 1, 1, 1)."""

_Number = TypeVar("_Number", bound=np.generic)


def totals(values: npt.NDArray[Any]) -> Totals:
    """Sum each image's values (N, 3, H, W) in float64; on a device, where no bit is promised, all at once."""
    if not is_host(values):
        library = functions(values)
        device_sums: Totals = library.sum(values, axis=(1, 2, 3), dtype=library.float64, keepdims=True)
        return device_sums
    sums = [np.ascontiguousarray(image).sum(dtype=np.float64) for image in values]
    return np.array(sums, dtype=np.float64).reshape(-1, 1, 1, 1)


def each(function: Callable[..., npt.NDArray[_Number]], *batches: npt.NDArray[Any]) -> npt.NDArray[_Number]:
    """Apply a function of one-image batches to every image of batches (N, ...); on a device to all at once."""
    if not all(is_host(batch) for batch in batches):
        return function(*batches)
    parts = zip(*batches, strict=True)
    return np.concatenate([function(*(np.ascontiguousarray(part[None]) for part in images)) for images in parts])
