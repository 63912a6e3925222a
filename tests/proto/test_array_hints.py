"""Hints for arrays that are no images: each one, carried out, makes an image."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from scoreguard.images.array_hints import range_hint, shape_hint, type_hint

pytestmark = pytest.mark.base

CODE = re.compile(r"(np\.repeat\(.*\)|array(?:\[[^\]]*\]|\.\w+\([^)]*\))+)")


def carried_out(hint: str, array: Any) -> Any:
    """The value of the hint's expression."""
    found = CODE.search(hint)
    assert found, hint
    return eval(found[1], {"np": np, "array": array, "i": 0})


@pytest.mark.parametrize(
    "shape",
    [
        *((3, 6, 8), (1, 3, 6, 8), (5, 3, 6, 8), (1, 6, 8, 3), (5, 6, 8, 3)),
        *((6, 8), (6, 8, 1), (1, 6, 8), (6, 8, 4), (4, 6, 8)),
    ],
)
def test_a_hint_of_shape_makes_an_image(shape: tuple[int, ...]) -> None:
    """Channels first, batches, grey, opacity: the expression gives (6, 8, 3)."""
    assert carried_out(shape_hint(shape), np.zeros(shape, np.uint8)).shape == (6, 8, 3)


@pytest.mark.parametrize("shape", [(), (5,), (6, 8, 2), (6, 8, 5), (0, 8, 3), (1, 2, 3, 4, 5), (2, 6, 8, 1)])
def test_where_nothing_is_known_there_is_no_hint(shape: tuple[int, ...]) -> None:
    """No guess."""
    assert shape_hint(shape) == ""


@pytest.mark.parametrize(
    ("low", "high", "hint"),
    [
        (0, 255, "divide it by 255, or send it as uint8"),
        (0, 1000, "65535"),
        (0, 65535, "65535"),
        (0, 1e9, "white"),
        (-1, 1, r"\(array \+ 1\) / 2"),
        (-0.01, 1, "clip"),
        (-2.1, 2.6, "normalisation"),
        (0, 1.01, "clip"),
        (float("nan"), float("nan"), "NaN"),
        (0, float("inf"), "infinite"),
    ],
)
def test_a_hint_of_range_names_the_scale(low: float, high: float, hint: str) -> None:
    """By the span of the values."""
    assert re.search(hint, range_hint(low, high))


@pytest.mark.parametrize("dtype", ["bool", "uint16", "int8", "int64", "uint32", "float16"])
def test_a_hint_of_type_exists_for_each_number(dtype: str) -> None:
    """Every NumPy number type that is no image type."""
    kind = np.dtype(dtype)
    assert type_hint(kind.kind, kind.itemsize)
    assert type_hint("U", 4) == ""
