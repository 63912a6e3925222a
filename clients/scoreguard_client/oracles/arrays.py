"""Arrays in this process's memory or on a device, with one set of functions for both.

Attacks are written once: `functions(images)` is numpy for NumPy arrays, and the Python array API standard of the
array's own library for all others (by array-api-compat, which NumPy arrays do not need). What the two spell
differently is here. Nothing but `on_host` and `equal` waits for a device.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from scoreguard.chain.devices import CPU
from scoreguard_client._exceptions import MissingExtraError

Put = Callable[[npt.NDArray[Any]], Any]
"""Copies a NumPy array to where an attack computes; the same array where that is the host."""


def unchanged(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Leave an array on the host."""
    return values


def is_host(array: object) -> bool:
    """Whether an array is NumPy's."""
    return isinstance(array, np.ndarray | np.generic)


def device_of(array: Any) -> str:
    """Return the name of an array's device: "cpu", "cuda:0"."""
    return CPU if is_host(array) else str(_compat().device(array))


def functions(array: object) -> Any:
    """Return the functions for an array: numpy, or the array API of its library.

    Raises:
        MissingExtraError: the array is not NumPy's and array-api-compat is not installed.
    """
    return np if is_host(array) else _compat().array_namespace(array)


def on_host(array: Any) -> npt.NDArray[Any]:
    """Return an array as NumPy's, after the device has computed it; a NumPy array itself."""
    if is_host(array):
        return np.asarray(array)
    return np.asarray(_compat().to_device(array, "cpu"))


def equal(one: Any, other: Any) -> bool:
    """Whether two arrays of one device and shape have the same values; waits for the device."""
    if is_host(one):
        return np.array_equal(one, other)
    return bool(functions(one).all(one == other))


def float32(values: Any) -> Any:
    """Round to single precision."""
    if is_host(values):
        return values.astype(np.float32, copy=False)
    library = functions(values)
    return library.astype(values, library.float32, copy=False)


def float64(values: Any) -> Any:
    """Widen to double precision."""
    if is_host(values):
        return values.astype(np.float64, copy=False)
    library = functions(values)
    return library.astype(values, library.float64, copy=False)


def one_each(images: Any, value: float) -> Any:
    """Return a number for each image, (N,) float64, on the images' device."""
    if is_host(images):
        return np.full(len(images), value)
    library = functions(images)
    return library.full((len(images),), value, dtype=library.float64, device=_compat().device(images))


def column(values: Any) -> Any:
    """Shape one number for each image (N,) to (N, 1, 1, 1), ready to combine with images."""
    return values.reshape(-1, 1, 1, 1)


def in_order(values: Any) -> Any:
    """Return the places of each row's values (N, M) from the lowest to the highest; equal ones keep their order."""
    return np.argsort(values, axis=1, kind="stable") if is_host(values) else functions(values).argsort(values, axis=1)


@cache
def _compat() -> Any:
    try:
        import array_api_compat
    except ImportError as error:
        raise MissingExtraError("an attack on a device", "attacks", "array-api-compat") from error
    return array_api_compat
