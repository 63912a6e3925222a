"""The ONNX graph of the `nlm` defence, node by node: a `Loop` over tiles, and in it one over pairs of offsets.

A tile lies flat, one row after the other, so that every shift is one copy of memory, and small enough to stay in a
core's cache. What wraps around at the end of a row is wrong in the margin only, which is cut off.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_PICTURE: list[str | int | None] = ["batch", 3, "height", "width"]
_TILE = 160
"""Largest height and width of a tile without its margin: dearer are more margins, or planes larger than the cache."""


def build_nlm_graph(*, patch: int, opset: int) -> onnx.ModelProto:
    """Build image, strength, search → purified.

    Args:
        patch: Height and width of the patches, in pixels: 3, 5 or 7.
        opset: At least 18, where `Split` takes the number of its outputs.
    """
    info = helper.make_tensor_value_info
    nodes = [*_search_nodes(), *_tile_nodes(), *_step_nodes(), *_work_nodes(patch)]
    graph = helper.make_graph(
        nodes,
        "nlm",
        [
            info("image", TensorProto.FLOAT, _PICTURE),
            info("strength", TensorProto.FLOAT, []),
            info("search", TensorProto.FLOAT, []),
        ],
        [info("purified", TensorProto.FLOAT, _PICTURE)],
        _constants(patch),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def _constants(patch: int) -> list[TensorProto]:
    values = {
        "zero": np.float32(0.0),
        "one": np.float32(1.0),
        "half": np.float32(0.5),
        "minus_mean": np.float32(-1.0 / (3 * patch * patch)),
        "scalar": np.array([], dtype=np.int64),
        "nil": np.array([0]),
        "single": np.array([1]),
        "two": np.array([2]),
        "two_nils": np.array([0, 0]),
        "six_nils": np.array([0, 0, 0, 0, 0, 0]),
        "border": np.array([patch // 2]),
        "tile_limit": np.array([_TILE]),
        "tile_limit_less": np.array([_TILE - 1]),
        "shift": np.array([[0, -1, 0, 1]]),
        "spatial": np.array([2, 3]),
        "item_and_spatial": np.array([0, 2, 3]),
        "flat": np.array([3, -1]),
        "any_tiles": np.array([-1]),
        "three": np.array([3]),
    }
    return [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]


def _search_nodes() -> list[onnx.NodeProto]:
    """Reach of the search, its pairs of opposite offsets, and the factor of the exponent."""
    node = helper.make_node
    return [
        node("Mul", ["strength", "strength"], ["strength_square"]),
        node("Div", ["minus_mean", "strength_square"], ["falloff"]),
        node("Mul", ["search", "half"], ["half_search"]),
        node("Floor", ["half_search"], ["floored"]),
        node("Cast", ["floored"], ["whole"], to=TensorProto.INT64),
        node("Reshape", ["whole", "single"], ["reach"]),
        node("Add", ["reach", "reach"], ["two_reaches"]),
        node("Add", ["two_reaches", "single"], ["span"]),
        node("Mul", ["span", "span"], ["offsets"]),
        node("Div", ["offsets", "two"], ["pairs"]),
        node("Add", ["reach", "border"], ["margin"]),
        node("Add", ["margin", "margin"], ["margins"]),
    ]


def _tile_nodes() -> list[onnx.NodeProto]:
    """Equal tiles, no larger than the limit; the last ones reach beyond the picture, and read nought there."""
    node = helper.make_node
    return [
        node("Shape", ["image"], ["batch"], start=0, end=1),
        node("Shape", ["image"], ["size"], start=2, end=4),
        node("Add", ["size", "tile_limit_less"], ["almost_next"]),
        node("Div", ["almost_next", "tile_limit"], ["counts"]),
        node("Add", ["size", "counts"], ["size_and_counts"]),
        node("Sub", ["size_and_counts", "single"], ["more"]),
        node("Div", ["more", "counts"], ["tile"]),
        node("Mul", ["tile", "counts"], ["covered"]),
        node("Sub", ["covered", "size"], ["beyond"]),
        node("Add", ["tile", "margins"], ["canvas"]),
        node("Split", ["counts"], ["count_down", "count_right"], axis=0, num_outputs=2),
        node("Mul", ["count_down", "count_right"], ["per_item"]),
        node("Mul", ["per_item", "batch"], ["tiles"]),
        node("Concat", ["two_nils", "margin", "margin", "two_nils", "margin", "margin"], ["mirrored"], axis=0),
        node("Pad", ["image", "mirrored"], ["mirrored_image"], mode="reflect"),
        node("Concat", ["six_nils", "beyond"], ["filled"], axis=0),
        node("Pad", ["mirrored_image", "filled"], ["padded"]),
    ]


def _step_nodes() -> list[onnx.NodeProto]:
    """Shifts as pads of (planes, pixels): of every pair of offsets, there and back, and along a row and a column."""
    node = helper.make_node
    return [
        node("Split", ["canvas"], ["canvas_height", "row"], axis=0, num_outputs=2),
        *(node("Reshape", [name, "scalar"], [f"{name}_0d"]) for name in ("pairs", "offsets")),
        node("Add", ["pairs", "single"], ["after_centre"]),
        node("Reshape", ["after_centre", "scalar"], ["after_centre_0d"]),
        node("Reshape", ["single", "scalar"], ["single_0d"]),
        node("Range", ["after_centre_0d", "offsets_0d", "single_0d"], ["places"]),
        node("Div", ["places", "span"], ["down_place"]),
        node("Mod", ["places", "span"], ["right_place"]),
        node("Sub", ["down_place", "reach"], ["down"]),
        node("Sub", ["right_place", "reach"], ["right"]),
        node("Mul", ["down", "row"], ["down_pixels"]),
        node("Add", ["down_pixels", "right"], ["pixels"]),
        node("Unsqueeze", ["pixels", "single"], ["pixels_column"]),
        node("Mul", ["pixels_column", "shift"], ["there"]),
        node("Neg", ["there"], ["back"]),
    ]
