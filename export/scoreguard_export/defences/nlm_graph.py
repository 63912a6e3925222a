"""The ONNX graph of the `nlm` defence, node by node: a `Loop` over offsets, as many as the value of an input asks."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_PICTURE: list[str | int | None] = ["batch", 3, "height", "width"]
_WEIGHTS: list[str | int | None] = ["batch", 1, "height", "width"]


def build_nlm_graph(*, patch: int, widest: int, opset: int) -> onnx.ModelProto:
    """Build image, strength, search → purified.

    Args:
        patch: Height and width of the patches, in pixels.
        widest: Pixels from the centre to the side of the largest search.
        opset: At least 18, where `ReduceMean` takes its axes as an input.
    """
    node, info = helper.make_node, helper.make_tensor_value_info
    nodes = [
        *_planning_nodes(),
        node("Loop", ["offsets", "", "nothing", "no_weight"], ["total", "weights"], body=_body(patch)),
        node("Div", ["total", "weights"], ["mean"]),
        node("Clip", ["mean", "zero", "one"], ["purified"]),
    ]
    graph = helper.make_graph(
        nodes,
        "nlm",
        [
            info("image", TensorProto.FLOAT, _PICTURE),
            info("strength", TensorProto.FLOAT, []),
            info("search", TensorProto.FLOAT, []),
        ],
        [info("purified", TensorProto.FLOAT, _PICTURE)],
        _constants(patch, widest),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def _constants(patch: int, widest: int) -> list[TensorProto]:
    border, margin = patch // 2, patch // 2 + widest
    values = {
        "zero": np.float32(0.0),
        "one": np.float32(1.0),
        "half": np.float32(0.5),
        "minus_one": np.float32(-1.0),
        "single": np.int64(1),
        "channel": np.array([1]),
        "spatial": np.array([2, 3]),
        "pads": np.array([0, 0, margin, margin, 0, 0, margin, margin]),
        "border": np.array([border, border]),
        "centre": np.array([widest, widest]),
        "more": np.array([patch - 1, patch - 1]),
    }
    return [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]


def _planning_nodes() -> list[onnx.NodeProto]:
    node = helper.make_node
    return [
        node("Pad", ["image", "pads"], ["padded"], mode="reflect"),
        node("Shape", ["image"], ["size"], start=2, end=4),
        node("Add", ["size", "more"], ["patched_size"]),
        node("Add", ["size", "border"], ["inner_end"]),
        node("Add", ["centre", "patched_size"], ["centre_end"]),
        node("Slice", ["padded", "centre", "centre_end", "spatial"], ["own"]),
        node("Mul", ["strength", "strength"], ["strength_square"]),
        node("Div", ["minus_one", "strength_square"], ["falloff"]),
        node("Mul", ["search", "half"], ["half_search"]),
        node("Floor", ["half_search"], ["floored"]),
        node("Cast", ["floored"], ["reach"], to=TensorProto.INT64),
        node("Add", ["reach", "reach"], ["two_reaches"]),
        node("Add", ["two_reaches", "single"], ["span"]),
        node("Mul", ["span", "span"], ["offsets"]),
        node("Mul", ["image", "zero"], ["nothing"]),
        node("ReduceMean", ["nothing", "channel"], ["no_weight"]),
    ]


def _body(patch: int) -> onnx.GraphProto:
    """One offset: (number ÷ span, number mod span) − reach."""
    node, info = helper.make_node, helper.make_tensor_value_info
    nodes = [
        node("Div", ["number", "span"], ["row"]),
        node("Mod", ["number", "span"], ["column"]),
        *(node("Unsqueeze", [name, "start"], [f"{name}_part"]) for name in ("row", "column")),
        node("Concat", ["row_part", "column_part"], ["place"], axis=0),
        node("Sub", ["place", "reach"], ["offset"]),
        node("Add", ["centre", "offset"], ["corner"]),
        node("Add", ["corner", "patched_size"], ["corner_end"]),
        node("Slice", ["padded", "corner", "corner_end", "spatial"], ["near"]),
        node("Sub", ["near", "own"], ["difference"]),
        node("Mul", ["difference", "difference"], ["square"]),
        node("ReduceMean", ["square", "channel"], ["unlike"]),
        node("AveragePool", ["unlike"], ["tall"], kernel_shape=[patch, 1]),
        node("AveragePool", ["tall"], ["distance"], kernel_shape=[1, patch]),
        node("Mul", ["distance", "falloff"], ["exponent"]),
        node("Exp", ["exponent"], ["weight"]),
        node("Slice", ["near", "border", "inner_end", "spatial"], ["inner"]),
        node("Mul", ["inner", "weight"], ["weighted"]),
        node("Add", ["old_total", "weighted"], ["new_total"]),
        node("Add", ["old_weights", "weight"], ["new_weights"]),
        node("Identity", ["go_on"], ["still_on"]),
    ]
    return helper.make_graph(
        nodes,
        "offset",
        [
            info("number", TensorProto.INT64, []),
            info("go_on", TensorProto.BOOL, []),
            info("old_total", TensorProto.FLOAT, _PICTURE),
            info("old_weights", TensorProto.FLOAT, _WEIGHTS),
        ],
        [
            info("still_on", TensorProto.BOOL, []),
            info("new_total", TensorProto.FLOAT, _PICTURE),
            info("new_weights", TensorProto.FLOAT, _WEIGHTS),
        ],
        [numpy_helper.from_array(np.array([0]), "start")],
    )
