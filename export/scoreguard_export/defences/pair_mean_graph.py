"""The ONNX graph of a weighted mean of the pixels around each pixel, for symmetric weights.

With w(p, q) = w(q, p), one map of weights serves an offset and its opposite, so a `Scan` of half of the offsets is
enough. Each adds w·(x(q) − x(p)) to p, and subtracts it from q; the mean is x(p) and the quotient of the sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx.helper import make_node as node
from onnx.helper import make_tensor_value_info as info

from scoreguard_export.defences.tile_graph import TILE_CONSTANTS, tiled, tiling

_IMAGE: list[str | int | None] = ["batch", 3, "height", "width"]
_CONSTANTS: Mapping[str, Any] = {
    **TILE_CONSTANTS,
    "zero": np.float32(0.0),
    "one": np.float32(1.0),
    "least": np.float32(-60.0),
    "nil": np.array([0]),
    "step": np.array([[0, -1, 0, 1]]),
}


@dataclass(frozen=True, kw_only=True)
class PairMean:
    """What one such defence adds: its inputs, and nodes that join the common ones by the names of tensors."""

    name: str
    parameters: Sequence[str]
    constants: Mapping[str, Any]
    plan: Sequence[NodeProto]
    """Nodes that make `margin`, of shape (1,), and `down` and `right`, the offsets of the pairs after the centre."""
    weigh: Sequence[NodeProto]
    """Nodes in the scan: `difference` (3, pixels) → `exponent` (1, pixels), the logarithm of the weight."""
    of_pair: Sequence[str] = ()
    """Names of planned tensors with one number per pair; `weigh` reads the number of its pair as `NAME_of_pair`."""
    shifts: Sequence[NodeProto] = ()
    """Nodes that run once, with `row`: the number of pixels in a tile's row, with margins, of shape (1,)."""


def shifted(source: str, pads: str, result: str) -> NodeProto:
    """Write planes (planes, pixels) moved along their pixels, with zeros past the end."""
    return node("Pad", [source, pads], [result])


def build_pair_mean_graph(parts: PairMean, opset: int) -> onnx.ModelProto:
    """Build image, parameters → purified.

    Args:
        parts: Inputs and nodes of one defence.
        opset: At least 18.
    """
    constants = {**_CONSTANTS, **parts.constants}
    graph = helper.make_graph(
        [*parts.plan, *tiling(), *_pairs(), *parts.shifts, *tiled(_mean(parts))],
        parts.name,
        [info("image", TensorProto.FLOAT, _IMAGE), *(info(name, TensorProto.FLOAT, []) for name in parts.parameters)],
        [info("purified", TensorProto.FLOAT, _IMAGE)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def _pairs() -> list[NodeProto]:
    """Compute each pair's offset along a flat tile, as pads of (planes, pixels), in both directions."""
    return [
        node("Mul", ["down", "row"], ["down_pixels"]),
        node("Add", ["down_pixels", "right"], ["pixels"]),
        node("Unsqueeze", ["pixels", "single"], ["pixels_each"]),
        node("Mul", ["pixels_each", "step"], ["there"]),
        node("Neg", ["there"], ["back"]),
    ]


def _mean(parts: PairMean) -> list[NodeProto]:
    """Compute the mean around each pixel of a flat tile."""
    return [
        node("Mul", ["own", "zero"], ["nothing"]),
        node("Slice", ["nothing", "nil", "single"], ["nothing_once"]),
        node("Add", ["nothing_once", "one"], ["own_weight"]),
        _scan(parts),
        node("Div", ["total", "weights"], ["change"]),
        node("Add", ["own", "change"], ["mean"]),
        node("Clip", ["mean", "zero", "one"], ["settled"]),
    ]


def _scan(parts: PairMean) -> NodeProto:
    states, tables = ["nothing", "own_weight"], ["there", "back", *parts.of_pair]
    body, count = _pair_body(parts), len(tables)
    return node("Scan", [*states, *tables], ["total", "weights"], body=body, num_scan_inputs=count)


def _pair_body(parts: PairMean) -> onnx.GraphProto:
    nodes = [
        shifted("own", "forward", "near"),
        node("Sub", ["near", "own"], ["difference"]),
        *parts.weigh,
        # Far below any weight that counts; past −87 it would be a subnormal number, which is slow to compute with.
        node("Max", ["exponent", "least"], ["safe_exponent"]),
        node("Exp", ["safe_exponent"], ["weight"]),
        node("Mul", ["difference", "weight"], ["weighted"]),
        shifted("weighted", "backward", "weighted_back"),
        shifted("weight", "backward", "weight_back"),
        node("Add", ["old_total", "weighted"], ["half_total"]),
        node("Sub", ["half_total", "weighted_back"], ["new_total"]),
        node("Add", ["old_weights", "weight"], ["half_weights"]),
        node("Add", ["half_weights", "weight_back"], ["new_weights"]),
    ]
    old, new = (
        [info(f"{age}_total", TensorProto.FLOAT, [3, None]), info(f"{age}_weights", TensorProto.FLOAT, [1, None])]
        for age in ("old", "new")
    )
    pads = [info(name, TensorProto.INT64, [4]) for name in ("forward", "backward")]
    numbers = [info(f"{name}_of_pair", TensorProto.FLOAT, []) for name in parts.of_pair]
    return helper.make_graph(nodes, "one_pair", [*old, *pads, *numbers], new)
