"""The ONNX graph of the `resize` defence, node by node: its output size depends on the value of an input."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_CONSTANTS = {
    "half": np.float32(0.5),
    "zero": np.float32(0.0),
    "one": np.float32(1.0),
    "one_pixel": np.array([1], dtype=np.int64),
    "start": np.array([0], dtype=np.int64),
    "middle": np.array([2], dtype=np.int64),
    "end": np.array([4], dtype=np.int64),
}


def build_resize_graph(*, antialias: bool, restore: bool, opset: int) -> onnx.ModelProto:
    """Build image, scale → purified with bilinear `Resize` nodes (half-pixel centres).

    Args:
        antialias: Widen the filter with the reduction.
        restore: Enlarge the result to the original size.
        opset: At least 18, the first in which `Resize` can antialias.
    """
    nodes = [*_size_nodes(), _resize("image", "small_shape", "small", antialias=antialias)]
    if restore:
        nodes.append(_resize("small", "shape", "restored", antialias=False))
    nodes.append(helper.make_node("Clip", ["restored" if restore else "small", "zero", "one"], ["purified"]))
    size = ["height", "width"] if restore else ["small_height", "small_width"]
    graph = helper.make_graph(
        nodes,
        "resize",
        [
            helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "height", "width"]),
            helper.make_tensor_value_info("scale", TensorProto.FLOAT, []),
        ],
        [helper.make_tensor_value_info("purified", TensorProto.FLOAT, ["batch", 3, *size])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in _CONSTANTS.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def _size_nodes() -> list[onnx.NodeProto]:
    node = helper.make_node
    return [
        node("Shape", ["image"], ["shape"]),
        node("Slice", ["shape", "start", "middle"], ["outer"]),
        node("Slice", ["shape", "middle", "end"], ["size"]),
        node("Cast", ["size"], ["length"], to=TensorProto.FLOAT),
        node("Mul", ["length", "scale"], ["scaled"]),
        node("Add", ["scaled", "half"], ["shifted"]),
        node("Floor", ["shifted"], ["floored"]),
        node("Cast", ["floored"], ["whole"], to=TensorProto.INT64),
        node("Max", ["whole", "one_pixel"], ["small_size"]),
        node("Concat", ["outer", "small_size"], ["small_shape"], axis=0),
    ]


def _resize(source: str, shape: str, target: str, *, antialias: bool) -> onnx.NodeProto:
    return helper.make_node(
        "Resize",
        [source, "", "", shape],
        [target],
        mode="linear",
        coordinate_transformation_mode="half_pixel",
        antialias=int(antialias),
        # The wide filter omits taps outside the image, as in Pillow and torch.
        exclude_outside=int(antialias),
    )
