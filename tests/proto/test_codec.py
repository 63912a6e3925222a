"""numpy arrays on the wire."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scoreguard.v1.codec import from_tensor, to_tensor
from scoreguard.v1.errors import PayloadError
from scoreguard.v1.scoring_pb2 import DATA_TYPE_FLOAT32, DATA_TYPE_UINT8, Tensor

pytestmark = pytest.mark.base

shapes = st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))


@given(st.one_of(hnp.arrays(np.uint8, shapes), hnp.arrays(np.float32, shapes, elements=st.floats(0, 1, width=32))))
def test_an_image_survives_the_wire_to_the_last_bit(image: np.ndarray) -> None:
    """from_tensor(to_tensor(x)) has the values, type and shape of x."""
    back = from_tensor(to_tensor(image))
    assert back.dtype == image.dtype
    np.testing.assert_array_equal(back, image)


def test_float_bytes_are_little_endian() -> None:
    """One stands as 00 00 80 3f."""
    assert to_tensor(np.ones((1, 1, 3), np.float32)).data == b"\x00\x00\x80\x3f" * 3


@pytest.mark.parametrize(
    ("tensor", "problem"),
    [
        (Tensor(data=b"123", shape=[1, 1, 3]), "data_type"),
        (Tensor(data=b"12", shape=[1, 1, 3], data_type=DATA_TYPE_UINT8), "needs 3 bytes, not 2"),
        (Tensor(data=b"123", shape=[1, 3], data_type=DATA_TYPE_UINT8), "shape"),
        (Tensor(data=b"", shape=[0, 1, 3], data_type=DATA_TYPE_UINT8), "shape"),
        (Tensor(data=b"1" * 4, shape=[1, 1, 4], data_type=DATA_TYPE_UINT8), "shape"),
        (Tensor(data=b"1" * 3, shape=[1, 1, 3], data_type=DATA_TYPE_FLOAT32), "needs 12 bytes"),
        (Tensor(data=b"", shape=[-1, -1, 3], data_type=DATA_TYPE_UINT8), "shape"),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused(tensor: Tensor, problem: str) -> None:
    """The error says what was expected."""
    with pytest.raises(PayloadError, match=problem):
        from_tensor(tensor)


def test_double_precision_is_refused() -> None:
    """Nothing is converted behind the caller's back."""
    with pytest.raises(PayloadError, match="float64"):
        to_tensor(np.zeros((1, 1, 3)))  # type: ignore[arg-type]
