"""The ONNX graph of the `bilateral` defence, node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto
from onnx.helper import make_node as node

from scoreguard_export.defences.pair_mean_graph import PairMean, build_pair_mean_graph


def build_bilateral_graph(*, reach: int, offsets: Sequence[tuple[int, int]], opset: int) -> onnx.ModelProto:
    """Build image, sigma_color, sigma_space → purified.

    Args:
        reach: Radius of the disc in pixels.
        offsets: Offsets (down, right); of each opposite pair, the one after the centre.
        opset: At least 18.
    """
    parts = PairMean(
        name="bilateral",
        parameters=("sigma_color", "sigma_space"),
        constants=_constants(reach, offsets),
        plan=_plan(),
        weigh=_weigh(),
        of_pair=("spaces",),
    )
    return build_pair_mean_graph(parts, opset)


def _constants(reach: int, offsets: Sequence[tuple[int, int]]) -> Mapping[str, Any]:
    down, right = np.array(offsets).T
    return {
        "margin": np.array([reach]),
        "down": down,
        "right": right,
        "square_distance": (down**2 + right**2).astype(np.float32),
        "root_halves": np.full((1, 3), np.sqrt(0.5), np.float32),
        "minus_half": np.float32(-0.5),
    }


def _plan() -> list[NodeProto]:
    """Compute the factors of the difference, one per channel, and each pair's logarithm of the distance weight."""
    return [
        node("Div", ["root_halves", "sigma_color"], ["colors"]),
        node("Mul", ["sigma_space", "sigma_space"], ["space_square"]),
        node("Div", ["minus_half", "space_square"], ["space"]),
        node("Mul", ["square_distance", "space"], ["spaces"]),
    ]


def _weigh() -> list[NodeProto]:
    """Sum the channels by a product with the factors, which is faster than a reduction."""
    return [
        node("Abs", ["difference"], ["size_of_difference"]),
        node("MatMul", ["colors", "size_of_difference"], ["unlike"]),
        node("Mul", ["unlike", "unlike"], ["falling"]),
        node("Sub", ["spaces_of_pair", "falling"], ["exponent"]),
    ]
