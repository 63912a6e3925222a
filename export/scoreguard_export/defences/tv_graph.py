"""The ONNX graph of the `tv` defence, node by node: a `Loop` whose length is the value of an input."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_PICTURE: list[str | int | None] = ["batch", 3, "height", "width"]
_FIELD: list[str | int | None] = ["batch", 3, "rows", "columns"]

_CONSTANTS = {
    "zero": np.float32(0.0),
    "one": np.float32(1.0),
    "step": np.float32(0.25),
    "flat": np.float32(1e-20),
    "first": np.array([0], dtype=np.int64),
    "second": np.array([1], dtype=np.int64),
    "before_last": np.array([-1], dtype=np.int64),
    "end": np.array([np.iinfo(np.int64).max], dtype=np.int64),
    "tall": np.array([2], dtype=np.int64),
    "wide": np.array([3], dtype=np.int64),
    "below": np.array([0, 0, 0, 0, 0, 0, 1, 0], dtype=np.int64),
    "beside": np.array([0, 0, 0, 0, 0, 0, 0, 1], dtype=np.int64),
    "above": np.array([0, 0, 1, 0, 0, 0, 0, 0], dtype=np.int64),
    "left": np.array([0, 0, 0, 1, 0, 0, 0, 0], dtype=np.int64),
}


def build_tv_graph(opset: int) -> onnx.ModelProto:
    """Build image, weight, iterations → purified.

    Args:
        opset: At least 16.
    """
    node, info = helper.make_node, helper.make_tensor_value_info
    nodes = [
        node("Div", ["step", "weight"], ["strength"]),
        node("Round", ["iterations"], ["whole"]),
        node("Cast", ["whole"], ["count"], to=TensorProto.INT64),
        node("Mul", ["image", "zero"], ["nothing"]),
        node("Loop", ["count", "", "nothing", "nothing"], ["down", "right"], body=_body()),
        *_explained("down", "right", "explained"),
        node("Clip", ["explained", "zero", "one"], ["purified"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tv",
        [
            info("image", TensorProto.FLOAT, _PICTURE),
            info("weight", TensorProto.FLOAT, []),
            info("iterations", TensorProto.FLOAT, []),
        ],
        [info("purified", TensorProto.FLOAT, _PICTURE)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in _CONSTANTS.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def _body() -> onnx.GraphProto:
    """One step of the algorithm: a new dual field from the old one."""
    node, info = helper.make_node, helper.make_tensor_value_info
    nodes = [
        *_explained("old_down", "old_right", "now"),
        *_difference("now", "steep", axis="tall", fill="below"),
        *_difference("now", "slant", axis="wide", fill="beside"),
        node("Mul", ["steep", "steep"], ["steep_square"]),
        node("Mul", ["slant", "slant"], ["slant_square"]),
        node("Add", ["steep_square", "slant_square"], ["square"]),
        node("Max", ["square", "flat"], ["safe_square"]),
        node("Sqrt", ["safe_square"], ["slope"]),
        node("Mul", ["slope", "strength"], ["pull"]),
        node("Add", ["pull", "one"], ["damping"]),
        *_damped("old_down", "steep", "new_down"),
        *_damped("old_right", "slant", "new_right"),
        node("Identity", ["go_on"], ["still_on"]),
    ]
    fields = ["old_down", "old_right"], ["new_down", "new_right"]
    given, made = ([info(name, TensorProto.FLOAT, _FIELD) for name in names] for names in fields)
    number, go_on = info("number", TensorProto.INT64, []), info("go_on", TensorProto.BOOL, [])
    return helper.make_graph(nodes, "step", [number, go_on, *given], [info("still_on", TensorProto.BOOL, []), *made])


def _explained(down: str, right: str, result: str) -> list[onnx.NodeProto]:
    """Write image − div of a field."""
    node = helper.make_node
    return [
        node("Slice", [down, "first", "before_last", "tall"], [f"{down}_cut"]),
        node("Pad", [f"{down}_cut", "above"], [f"{down}_shifted"]),
        node("Slice", [right, "first", "before_last", "wide"], [f"{right}_cut"]),
        node("Pad", [f"{right}_cut", "left"], [f"{right}_shifted"]),
        node("Add", [down, right], [f"{result}_out"]),
        node("Add", [f"{down}_shifted", f"{right}_shifted"], [f"{result}_in"]),
        node("Sub", ["image", f"{result}_out"], [f"{result}_rest"]),
        node("Add", [f"{result}_rest", f"{result}_in"], [result]),
    ]


def _difference(source: str, result: str, *, axis: str, fill: str) -> list[onnx.NodeProto]:
    """Write the forward difference along an axis, zero at its end."""
    node = helper.make_node
    return [
        node("Slice", [source, "second", "end", axis], [f"{result}_next"]),
        node("Slice", [source, "first", "before_last", axis], [f"{result}_here"]),
        node("Sub", [f"{result}_next", f"{result}_here"], [f"{result}_inner"]),
        node("Pad", [f"{result}_inner", fill], [result]),
    ]


def _damped(old: str, slope: str, new: str) -> list[onnx.NodeProto]:
    node = helper.make_node
    return [
        node("Mul", [slope, "step"], [f"{new}_step"]),
        node("Sub", [old, f"{new}_step"], [f"{new}_moved"]),
        node("Div", [f"{new}_moved", "damping"], [new]),
    ]
