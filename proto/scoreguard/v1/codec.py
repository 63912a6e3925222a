"""Convert NumPy arrays to wire tensors and back."""

from __future__ import annotations

import math
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from scoreguard.support.shown import shown
from scoreguard.v1.errors import PayloadError
from scoreguard.v1.limits import LIMITS
from scoreguard.v1.scoring_pb2 import (
    DATA_TYPE_FLOAT32,
    DATA_TYPE_UINT8,
    DataType,
    Tensor,
)

ImageArray = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
"""(height, width, 3) RGB: uint8 in 0..255 or float32 in [0, 1]."""
TOP: Final = 255
"""White in 8 bits: divides a level to bring it into [0, 1]."""

_WIRE: Final[dict[DataType.ValueType, np.dtype[np.uint8] | np.dtype[np.float32]]] = {
    DATA_TYPE_UINT8: np.dtype("u1"),
    DATA_TYPE_FLOAT32: np.dtype("<f4"),
}
_RANK: Final = 3
_CHANNELS: Final = 3


def to_tensor(array: ImageArray) -> Tensor:
    """Wrap an image or a gradient; the bytes are little-endian and in C order.

    Raises:
        PayloadError: the array is neither uint8 nor float32.
    """
    for data_type, dtype in _WIRE.items():
        if array.dtype == dtype:
            data = np.ascontiguousarray(array, dtype).tobytes()
            return Tensor(data=data, shape=array.shape, data_type=data_type)
    raise PayloadError(f"an image must be uint8 or float32, not {array.dtype}")


def from_tensor(tensor: Tensor, data: bytes | bytearray | memoryview | None = None) -> ImageArray:
    """Return the values of a tensor.

    Args:
        tensor: a tensor in the form of `to_tensor`.
        data: its bytes, if the caller has them outside of the message; reading them from the message makes a copy.

    Returns:
        (height, width, 3): a view of the bytes, read-only if they are.

    Raises:
        PayloadError: the type is missing, the shape is not (height, width, 3), or the length does not match.
    """
    dtype = _WIRE.get(tensor.data_type)
    if dtype is None:
        raise PayloadError("the tensor's data_type must be UINT8 or FLOAT32")
    # A shape may be as long as the message; the check and its error need only its beginning.
    shape = tuple(tensor.shape[: LIMITS.tensor_dimensions + 1])
    if len(shape) != _RANK or shape[2] != _CHANNELS or min(shape) < 1:
        raise PayloadError(f"the tensor's shape must be (height, width, 3), not {shown(shape)}")
    expected = math.prod(shape) * dtype.itemsize
    held = tensor.data if data is None else data
    if len(held) != expected:
        raise PayloadError(f"a {dtype.name} tensor of shape {shape} needs {expected} bytes, not {len(held)}")
    return cast(ImageArray, np.frombuffer(held, dtype).reshape(shape))
