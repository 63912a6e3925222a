"""Weights that Keras saved as HDF5: arrays by layer, and kernels of convolutions with their batch norms folded in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from scoreguard_export.errors import WeightsError
from scoreguard_export.libraries import library
from scoreguard_export.weights.checkpoints import advice
from scoreguard_export.weights.source import WeightsSource

EXTRA: Final = "keras"
"""Extra of the package that installs h5py."""
Layers = Mapping[str, Mapping[str, Tensor]]
"""Arrays in double precision by the name of the layer, then by their own: `kernel`, `gamma`, …"""
_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
_EPSILON: Final = 1e-3
"""What Keras adds to the variance of a batch norm."""


def is_hdf5(path: Path) -> bool:
    """Return whether a file begins as HDF5 does; false if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(_SIGNATURE)) == _SIGNATURE
    except OSError:
        return False


def read_layers(path: Path, name: str, source: WeightsSource) -> Layers:
    """Return the arrays of a file of `save_weights`, or of a whole saved model.

    Args:
        path: The file.
        name: Name of the weights, for messages.
        source: Source of the weights, for messages.

    Raises:
        MissingExtraError: h5py is not installed.
        WeightsError: the file cannot be read.
    """
    h5py = library("h5py", EXTRA, name)
    layers: dict[str, dict[str, Tensor]] = {}

    def take(place: str, item: Any) -> None:
        # .../conv1_bn/gamma:0
        parts = place.split("/")
        if isinstance(item, h5py.Dataset) and len(parts) > 1 and item.dtype.kind == "f":
            values = np.asarray(item, np.float64)
            layers.setdefault(parts[-2], {})[parts[-1].partition(":")[0]] = torch.from_numpy(values)

    try:
        with h5py.File(path, "r") as file:
            file.visititems(take)
    except Exception as error:  # a damaged file can fail in many ways
        raise WeightsError(f"{path} is damaged, or is not HDF5: {advice(name, source)}") from error
    return layers


def folded(layers: Layers, convolution: str, norm: str) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a convolution without bias and the batch norm behind it, as one convolution of torch.

    A kernel is (height, width, inputs, outputs) in Keras; that of a depthwise convolution has one output an input.

    Raises:
        KeyError: a layer, or one of its arrays, is missing.
        RuntimeError: their shapes do not fit each other.
    """
    arrays, statistics = layers[convolution], layers[norm]
    if "depthwise_kernel" in arrays:
        weight = arrays["depthwise_kernel"].permute(2, 3, 0, 1)
    else:
        weight = arrays["kernel"].permute(3, 2, 0, 1)
    scale = statistics["gamma"] / torch.sqrt(statistics["moving_variance"] + _EPSILON)
    bias = statistics["beta"] - statistics["moving_mean"] * scale
    return (weight * scale[:, None, None, None]).float(), bias.float()
