"""The ONNX graph of the `crop` defence, node by node: its output size depends on the value of an input."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_CONSTANTS = {
    "zero": np.float32(0.0),
    "one": np.float32(1.0),
    "one_pixel": np.array([1], dtype=np.int64),
    "spatial": np.array([1, 2], dtype=np.int64),
}


def build_crop_graph(*, restore: bool, opset: int) -> onnx.ModelProto:
    """Build image, size, vertical, horizontal → purified.

    Args:
        restore: Enlarge the piece to the original size, bilinearly.
        opset: At least 18.
    """
    piece = "piece" if restore else "purified"
    scan = helper.make_node("Scan", ["image", "begins", "ends"], [piece], body=_cut(), num_scan_inputs=3)
    nodes = [*_size_nodes(), *_place_nodes(), scan, *(_restoring_nodes() if restore else [])]
    size = ["height", "width"] if restore else ["piece_height", "piece_width"]
    graph = helper.make_graph(
        nodes,
        "crop",
        [
            helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "height", "width"]),
            helper.make_tensor_value_info("size", TensorProto.FLOAT, []),
            helper.make_tensor_value_info("vertical", TensorProto.FLOAT, ["batch"]),
            helper.make_tensor_value_info("horizontal", TensorProto.FLOAT, ["batch"]),
        ],
        [helper.make_tensor_value_info("purified", TensorProto.FLOAT, ["batch", 3, *size])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in _CONSTANTS.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def _size_nodes() -> list[onnx.NodeProto]:
    """`pieces`: side lengths of the piece (2,); `places`: how many positions each side has (2,)."""
    node = helper.make_node
    return [
        node("Shape", ["image"], ["lengths"], start=2, end=4),
        node("Cast", ["size"], ["asked"], to=TensorProto.INT64),
        node("Min", ["lengths", "asked"], ["fitting"]),
        node("Max", ["fitting", "one_pixel"], ["pieces"]),
        node("Sub", ["lengths", "pieces"], ["last_places"]),
        node("Add", ["last_places", "one_pixel"], ["places"]),
    ]


def _place_nodes() -> list[onnx.NodeProto]:
    """`begins`, `ends`: top and left, bottom and right of each image's piece (N, 2)."""
    node = helper.make_node
    return [
        *(node("Unsqueeze", [draw, "one_pixel"], [f"{draw}_column"]) for draw in ("vertical", "horizontal")),
        node("Concat", ["vertical_column", "horizontal_column"], ["draws"], axis=1),
        node("Cast", ["places"], ["range"], to=TensorProto.FLOAT),
        node("Mul", ["draws", "range"], ["drawn"]),
        node("Floor", ["drawn"], ["floored"]),
        node("Cast", ["floored"], ["whole"], to=TensorProto.INT64),
        node("Min", ["whole", "last_places"], ["begins"]),
        node("Add", ["begins", "pieces"], ["ends"]),
    ]


def _cut() -> onnx.GraphProto:
    """Cut one image by a slice, which copies whole rows; an index for each pixel takes ten times as long."""
    info = helper.make_tensor_value_info
    return helper.make_graph(
        [helper.make_node("Slice", ["image", "begin", "end", "spatial"], ["cut"])],
        "cut",
        [
            info("image", TensorProto.FLOAT, [3, "height", "width"]),
            info("begin", TensorProto.INT64, [2]),
            info("end", TensorProto.INT64, [2]),
        ],
        [info("cut", TensorProto.FLOAT, [3, "piece_height", "piece_width"])],
    )


def _restoring_nodes() -> list[onnx.NodeProto]:
    node = helper.make_node
    attributes = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return [
        node("Shape", ["image"], ["shape"]),
        node("Resize", ["piece", "", "", "shape"], ["restored"], **attributes),
        node("Clip", ["restored", "zero", "one"], ["purified"]),
    ]
