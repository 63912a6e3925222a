"""The ONNX graph of the `crop` defence, node by node: its output size depends on the value of an input."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_CONSTANTS = {
    "zero": np.float32(0.0),
    "one": np.float32(1.0),
    "first": np.int64(0),
    "second": np.int64(1),
    "one_pixel": np.array([1], dtype=np.int64),
    "start": np.array([0], dtype=np.int64),
    "middle": np.array([2], dtype=np.int64),
    "three": np.array([3], dtype=np.int64),
    "end": np.array([4], dtype=np.int64),
    "row_axes": np.array([1, 3], dtype=np.int64),
    "column_axes": np.array([1, 2], dtype=np.int64),
    "inner": np.array([1], dtype=np.int64),
}


def build_crop_graph(*, restore: bool, opset: int) -> onnx.ModelProto:
    """Build image, size, vertical, horizontal → purified.

    Args:
        restore: Enlarge the piece to the original size, bilinearly.
        opset: At least 18.
    """
    nodes = [
        *_size_nodes(),
        *_index_nodes("rows", "vertical", "first", "row_axes"),
        *_index_nodes("columns", "horizontal", "second", "column_axes"),
        *_gather_nodes(),
    ]
    nodes += _restoring_nodes() if restore else [helper.make_node("Identity", ["piece"], ["purified"])]
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
        node("Shape", ["image"], ["shape"]),
        node("Slice", ["shape", "start", "middle"], ["outer"]),
        node("Slice", ["shape", "middle", "end"], ["lengths"]),
        node("Cast", ["size"], ["asked"], to=TensorProto.INT64),
        node("Min", ["lengths", "asked"], ["fitting"]),
        node("Max", ["fitting", "one_pixel"], ["pieces"]),
        node("Sub", ["lengths", "pieces"], ["last_places"]),
        node("Add", ["last_places", "one_pixel"], ["places"]),
    ]


def _index_nodes(name: str, draw: str, axis: str, unsqueezed: str) -> list[onnx.NodeProto]:
    """Which rows or columns of each picture are kept: (N, 1, h, 1) or (N, 1, 1, w)."""
    node = helper.make_node
    return [
        node("Gather", ["pieces", axis], [f"{name}_count"]),
        node("Gather", ["places", axis], [f"{name}_places"]),
        node("Gather", ["last_places", axis], [f"{name}_last"]),
        node("Cast", [f"{name}_places"], [f"{name}_range"], to=TensorProto.FLOAT),
        node("Mul", [draw, f"{name}_range"], [f"{name}_drawn"]),
        node("Floor", [f"{name}_drawn"], [f"{name}_floored"]),
        node("Cast", [f"{name}_floored"], [f"{name}_whole"], to=TensorProto.INT64),
        node("Min", [f"{name}_whole", f"{name}_last"], [f"{name}_begin"]),
        node("Unsqueeze", [f"{name}_begin", "inner"], [f"{name}_begins"]),
        node("Range", ["first", f"{name}_count", "second"], [f"{name}_offsets"]),
        node("Add", [f"{name}_begins", f"{name}_offsets"], [f"{name}_taken"]),
        node("Unsqueeze", [f"{name}_taken", unsqueezed], [name]),
    ]


def _gather_nodes() -> list[onnx.NodeProto]:
    """Take the rows, then the columns."""
    node = helper.make_node
    return [
        node("Slice", ["pieces", "start", "one_pixel"], ["piece_height"]),
        node("Slice", ["shape", "three", "end"], ["whole_width"]),
        node("Concat", ["outer", "piece_height", "whole_width"], ["band_shape"], axis=0),
        node("Expand", ["rows", "band_shape"], ["band_rows"]),
        node("GatherElements", ["image", "band_rows"], ["band"], axis=2),
        node("Concat", ["outer", "pieces"], ["piece_shape"], axis=0),
        node("Expand", ["columns", "piece_shape"], ["piece_columns"]),
        node("GatherElements", ["band", "piece_columns"], ["piece"], axis=3),
    ]


def _restoring_nodes() -> list[onnx.NodeProto]:
    node = helper.make_node
    attributes = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return [
        node("Resize", ["piece", "", "", "shape"], ["restored"], **attributes),
        node("Clip", ["restored", "zero", "one"], ["purified"]),
    ]
