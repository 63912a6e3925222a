"""The ONNX graph of the `tv` defence, node by node: a `Loop` whose length is the value of an input.

Each channel of each image is fully denoised before the next: at the study's size, the data of one channel stay in the
processor's cache, and the memory in addition to the images is that of one channel.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_IMAGE: list[str | int | None] = ["batch", 3, "height", "width"]
_CHANNEL: list[str | int | None] = ["height", "width"]

_CONSTANTS = {
    "zero": np.float32(0.0),
    "one": np.float32(1.0),
    "step": np.float32(0.25),
    "every": np.array([-1], dtype=np.int64),
    # Shifts by one pixel: values that leave on one side are cut off, those that enter on the other are filled in.
    "from_above": np.array([1, 0, -1, 0], dtype=np.int64),
    "from_left": np.array([0, 1, 0, -1], dtype=np.int64),
    "from_below": np.array([-1, 0, 1, 0], dtype=np.int64),
    "from_right": np.array([0, -1, 0, 1], dtype=np.int64),
}


def build_tv_graph(opset: int) -> onnx.ModelProto:
    """Build image, weight, iterations → purified.

    Args:
        opset: At least 16.
    """
    node, info = helper.make_node, helper.make_tensor_value_info
    nodes = [
        node("Div", ["step", "weight"], ["scale"]),
        node("Round", ["iterations"], ["whole"]),
        node("Cast", ["whole"], ["count"], to=TensorProto.INT64),
        node("Shape", ["image"], ["shape"]),
        node("Shape", ["image"], ["size"], start=2),
        node("Concat", ["every", "size"], ["stacked"], axis=0),
        node("Reshape", ["image", "stacked"], ["channels"]),
        node("Scan", ["channels"], ["denoised"], body=_channel(), num_scan_inputs=1),
        node("Reshape", ["denoised", "shape"], ["purified"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tv",
        [
            info("image", TensorProto.FLOAT, _IMAGE),
            info("weight", TensorProto.FLOAT, []),
            info("iterations", TensorProto.FLOAT, []),
        ],
        [info("purified", TensorProto.FLOAT, _IMAGE)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in _CONSTANTS.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def _channel() -> onnx.GraphProto:
    """Run all steps of one channel scaled by τ/w: a step divides by 1 + |∇u|, and only div p keeps the factor τ."""
    node, info = helper.make_node, helper.make_tensor_value_info
    nodes = [
        node("Mul", ["channel", "scale"], ["scaled"]),
        node("Mul", ["channel", "zero"], ["nothing"]),
        node("Loop", ["count", "", "nothing", "nothing"], ["down", "right"], body=_step()),
        *_explained("channel", "down", "right", "weight", "explained"),
        node("Clip", ["explained", "zero", "one"], ["clean"]),
    ]
    given, made = (info(name, TensorProto.FLOAT, _CHANNEL) for name in ("channel", "clean"))
    return helper.make_graph(nodes, "denoise", [given], [made])


def _step() -> onnx.GraphProto:
    """Run one step of the algorithm: a new dual field from the old one."""
    node, info = helper.make_node, helper.make_tensor_value_info
    nodes = [
        *_explained("scaled", "old_down", "old_right", "step", "now"),
        *_difference("now", "steep", shift="from_below"),
        *_difference("now", "slant", shift="from_right"),
        node("Mul", ["steep", "steep"], ["steep_square"]),
        node("Mul", ["slant", "slant"], ["slant_square"]),
        node("Add", ["steep_square", "slant_square"], ["square"]),
        node("Sqrt", ["square"], ["slope"]),
        node("Add", ["slope", "one"], ["damping"]),
        node("Reciprocal", ["damping"], ["share"]),
        *_damped("old_down", "steep", "new_down"),
        *_damped("old_right", "slant", "new_right"),
        node("Identity", ["go_on"], ["still_on"]),
    ]
    old, new = ["old_down", "old_right"], ["new_down", "new_right"]
    within = [entry.output[0] for entry in nodes[:-1] if entry.output[0] not in new]
    # With known, equal sizes, results can reuse the memory of their inputs.
    given, made, inner = ([info(name, TensorProto.FLOAT, _CHANNEL) for name in names] for names in (old, new, within))
    number, go_on = info("number", TensorProto.INT64, []), info("go_on", TensorProto.BOOL, [])
    still_on = info("still_on", TensorProto.BOOL, [])
    return helper.make_graph(nodes, "step", [number, go_on, *given], [still_on, *made], value_info=inner)


def _explained(start: str, down: str, right: str, share: str, result: str) -> list[onnx.NodeProto]:
    """Write start − share · div of a field."""
    node = helper.make_node
    return [
        node("Pad", [down, "from_above"], [f"{down}_above"]),
        node("Sub", [down, f"{down}_above"], [f"{down}_out"]),
        node("Pad", [right, "from_left"], [f"{right}_left"]),
        node("Sub", [right, f"{right}_left"], [f"{right}_out"]),
        node("Add", [f"{down}_out", f"{right}_out"], [f"{result}_out"]),
        node("Mul", [f"{result}_out", share], [f"{result}_taken"]),
        node("Sub", [start, f"{result}_taken"], [result]),
    ]


def _difference(source: str, result: str, *, shift: str) -> list[onnx.NodeProto]:
    """Write the forward difference along an axis; at its end the border is repeated, which makes it zero."""
    node = helper.make_node
    return [
        node("Pad", [source, shift], [f"{result}_next"], mode="edge"),
        node("Sub", [f"{result}_next", source], [result]),
    ]


def _damped(old: str, slope: str, new: str) -> list[onnx.NodeProto]:
    node = helper.make_node
    return [node("Sub", [old, slope], [f"{new}_moved"]), node("Mul", [f"{new}_moved", "share"], [new])]
