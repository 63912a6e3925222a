"""The ONNX graph of the `rotate` defence, node by node: a `Scan` over images and, within it, one over channels.

One index for each pixel serves all channels; a captured graph would repeat it per channel, in 64 bits each.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_CHANNEL: list[str | int | None] = ["height", "width"]
_IMAGE: list[str | int | None] = [3, "height", "width"]
_BATCH: list[str | int | None] = ["batch", 3, "height", "width"]
_STEPS = ("across", "down", "across_whole", "down_whole", "column", "row", "begin", "place")
"""Values of known, equal size, so that results can reuse the memory of their inputs."""

_CONSTANTS = {
    "zero": np.float32(0.0),
    "one": np.float32(1.0),
    "half": np.float64(0.5),
    "first": np.float64(1.0),
    "two": np.float64(2.0),
    "none": np.int64(0),
    "single": np.int64(1),
    "double": np.int64(2),
    "batched": np.array([0], dtype=np.int64),
    "inner": np.array([1], dtype=np.int64),
    "last": np.array([2], dtype=np.int64),
    "flat": np.array([-1], dtype=np.int64),
    "border": np.array([2, 2, 1, 1], dtype=np.int64),
}


def build_rotate_graph(series: dict[str, NDArray[np.float64]], *, bilinear: bool, opset: int) -> onnx.ModelProto:
    """Build image, degrees, turn → purified.

    Args:
        series: `radian`, and the series of cosine and sine: `exponents` and the coefficients `cosines`, `sines`.
        bilinear: Interpolate four pixels instead of taking the nearest.
        opset: At least 20, the first in which `GridSample` has the mode `linear`.
    """
    info, body = helper.make_tensor_value_info, _image(_interpolating() if bilinear else _taking())
    scan = helper.make_node("Scan", ["image", "cosine", "sine"], ["purified"], body=body, num_scan_inputs=3)
    places = [*_axis_nodes("columns", "width", 3), *_axis_nodes("lines", "height", 2)]
    graph = helper.make_graph(
        [*_turning_nodes(), *places, helper.make_node("Unsqueeze", ["lines", "inner"], ["rows"]), scan],
        "rotate",
        [
            info("image", TensorProto.FLOAT, _BATCH),
            info("degrees", TensorProto.FLOAT, []),
            info("turn", TensorProto.FLOAT, ["batch"]),
        ],
        [info("purified", TensorProto.FLOAT, _BATCH)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (_CONSTANTS | series).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def _turning_nodes() -> list[onnx.NodeProto]:
    """`cosine`, `sine`: (N,)."""
    node = helper.make_node
    return [
        node("Cast", ["turn"], ["drawn"], to=TensorProto.DOUBLE),
        node("Mul", ["drawn", "two"], ["doubled"]),
        node("Sub", ["doubled", "first"], ["signed"]),
        node("Cast", ["degrees"], ["largest"], to=TensorProto.DOUBLE),
        node("Mul", ["signed", "largest"], ["turned"]),
        node("Mul", ["turned", "radian"], ["angle"]),
        node("Mul", ["angle", "angle"], ["square"]),
        node("Unsqueeze", ["square", "inner"], ["squares"]),
        node("Pow", ["squares", "exponents"], ["powers"]),
        node("Mul", ["powers", "cosines"], ["cosine_terms"]),
        node("ReduceSum", ["cosine_terms", "inner"], ["cosine"], keepdims=0),
        node("Mul", ["powers", "sines"], ["sine_terms"]),
        node("ReduceSum", ["sine_terms", "inner"], ["sine_share"], keepdims=0),
        node("Mul", ["angle", "sine_share"], ["sine"]),
    ]


def _axis_nodes(name: str, length: str, axis: int) -> list[onnx.NodeProto]:
    """Compute positions along an axis from the centre, in half pixels; its length as a number, and plus 2 and 3."""
    node = helper.make_node
    return [
        node("Shape", ["image"], [f"{length}_part"], start=axis, end=axis + 1),
        node("Squeeze", [f"{length}_part"], [f"{length}_count"]),
        node("Range", ["none", f"{length}_count", "single"], [f"{name}_numbers"]),
        node("Mul", [f"{name}_numbers", "double"], [f"{name}_doubled"]),
        node("Sub", [f"{length}_count", "single"], [f"{name}_centre"]),
        node("Sub", [f"{name}_doubled", f"{name}_centre"], [f"{name}_halves"]),
        node("Cast", [f"{name}_halves"], [name], to=TensorProto.DOUBLE),
        node("Cast", [f"{length}_count"], [f"{length}_length"], to=TensorProto.DOUBLE),
        node("Add", [f"{length}_length", "two"], [f"{length}_edge"]),
        node("Add", [f"{length}_edge", "first"], [f"{length}_stride"]),
    ]


def _image(nodes: list[onnx.NodeProto]) -> onnx.GraphProto:
    info = helper.make_tensor_value_info
    given = [info("own_cosine", TensorProto.DOUBLE, []), info("own_sine", TensorProto.DOUBLE, [])]
    known = [info(name, TensorProto.DOUBLE, _CHANNEL) for name in _STEPS if name in {n.output[0] for n in nodes}]
    inputs = [info("image", TensorProto.FLOAT, _IMAGE), *given]
    return helper.make_graph(nodes, "turn", inputs, [info("result", TensorProto.FLOAT, _IMAGE)], value_info=known)


def _parts() -> list[onnx.NodeProto]:
    """Compute what a column and a row each add to the source position of a pixel."""
    node = helper.make_node
    return [
        node("Mul", ["own_cosine", "columns"], ["across_columns"]),
        node("Mul", ["own_sine", "rows"], ["across_rows"]),
        node("Mul", ["own_sine", "columns"], ["down_columns"]),
        node("Mul", ["own_cosine", "rows"], ["down_rows"]),
    ]


def _taking() -> list[onnx.NodeProto]:
    """Take every pixel by its index in a channel with a black border."""
    node = helper.make_node
    return [
        *_parts(),
        node("Add", ["across_columns", "width_stride"], ["across_moved"]),
        node("Mul", ["across_moved", "half"], ["across_start"]),
        node("Mul", ["across_rows", "half"], ["across_step"]),
        node("Sub", ["across_start", "across_step"], ["across"]),
        node("Mul", ["down_columns", "half"], ["down_step"]),
        node("Add", ["down_rows", "height_stride"], ["down_moved"]),
        node("Mul", ["down_moved", "half"], ["down_start"]),
        node("Add", ["down_step", "down_start"], ["down"]),
        node("Round", ["across"], ["across_whole"]),
        node("Clip", ["across_whole", "first", "width_edge"], ["column"]),
        node("Round", ["down"], ["down_whole"]),
        node("Clip", ["down_whole", "first", "height_edge"], ["row"]),
        node("Mul", ["row", "width_stride"], ["begin"]),
        node("Add", ["begin", "column"], ["place"]),
        node("Cast", ["place"], ["number"], to=TensorProto.INT32),
        node("Reshape", ["number", "flat"], ["taken"]),
        node("Shape", ["place"], ["size"]),
        node("Scan", ["image"], ["result"], body=_channel(), num_scan_inputs=1),
    ]


def _channel() -> onnx.GraphProto:
    node, info = helper.make_node, helper.make_tensor_value_info
    nodes = [
        node("Pad", ["channel", "border"], ["bordered"]),
        node("Reshape", ["bordered", "flat"], ["pixels"]),
        node("GatherElements", ["pixels", "taken"], ["found"]),
        node("Reshape", ["found", "size"], ["moved"]),
    ]
    given, made = (info(name, TensorProto.FLOAT, _CHANNEL) for name in ("channel", "moved"))
    return helper.make_graph(nodes, "take", [given], [made])


def _interpolating() -> list[onnx.NodeProto]:
    """Sample between pixels; the grid has the outer edges of the image at -1 and 1."""
    node = helper.make_node
    nodes = _parts()
    for axis, length, join in (("across", "width", "Sub"), ("down", "height", "Add")):
        for part in ("columns", "rows"):
            nodes.append(node("Div", [f"{axis}_{part}", f"{length}_length"], [f"{axis}_{part}_share"]))
        nodes += [
            node(join, [f"{axis}_columns_share", f"{axis}_rows_share"], [axis]),
            node("Cast", [axis], [f"{axis}_single"], to=TensorProto.FLOAT),
            node("Unsqueeze", [f"{axis}_single", "last"], [f"{axis}_grid"]),
        ]
    return [
        *nodes,
        node("Concat", ["across_grid", "down_grid"], ["one_grid"], axis=2),
        node("Unsqueeze", ["one_grid", "batched"], ["grid"]),
        node("Unsqueeze", ["image", "batched"], ["images"]),
        node("GridSample", ["images", "grid"], ["sampled"], mode="linear", padding_mode="zeros", align_corners=0),
        node("Clip", ["sampled", "zero", "one"], ["clipped"]),
        node("Squeeze", ["clipped", "batched"], ["result"]),
    ]
