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
        "least": np.float32(-60.0),
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
        *(x for m,o in (("1",1),("2",2),("m3",-3)) for x in (
        node("Constant",[],[f"px_{m}"],value=numpy_helper.from_array(np.array([0,-o,0,o]))),
        node("Mul",[f"px_{m}","row"],[f"row_{m}"]))),
    ]


def _work_nodes(patch: int) -> list[onnx.NodeProto]:
    """Every tile by itself, then the tiles side by side."""
    node = helper.make_node
    return [
        node("Loop", ["tiles", ""], ["stack"], body=_tile_body(patch)),
        node("Concat", ["batch", "counts", "three", "tile"], ["apart"], axis=0),
        node("Reshape", ["stack", "apart"], ["stack_6d"]),
        node("Transpose", ["stack_6d"], ["side_by_side"], perm=[0, 3, 1, 4, 2, 5]),
        node("Concat", ["batch", "three", "covered"], ["together"], axis=0),
        node("Reshape", ["side_by_side", "together"], ["whole_tiles"]),
        node("Slice", ["whole_tiles", "two_nils", "size", "spatial"], ["purified"]),
    ]


def _tile_body(patch: int) -> onnx.GraphProto:
    """One tile: (item, down, right) from its number."""
    node, info = helper.make_node, helper.make_tensor_value_info
    nodes = [
        node("Div", ["number", "per_item"], ["item"]),
        node("Div", ["number", "count_right"], ["rows_before"]),
        node("Mod", ["rows_before", "count_down"], ["tile_down"]),
        node("Mod", ["number", "count_right"], ["tile_right"]),
        node("Concat", ["tile_down", "tile_right"], ["tile_place"], axis=0),
        node("Mul", ["tile_place", "tile"], ["corner"]),
        node("Add", ["corner", "canvas"], ["corner_end"]),
        node("Add", ["item", "single"], ["item_end"]),
        node("Concat", ["item", "corner"], ["starts"], axis=0),
        node("Concat", ["item_end", "corner_end"], ["ends"], axis=0),
        node("Slice", ["padded", "starts", "ends", "item_and_spatial"], ["cut"]),
        node("Reshape", ["cut", "flat"], ["own"]),
        node("Mul", ["own", "zero"], ["nothing"]),
        node("Shape", ["own"], ["planes_and_pixels"]),
        node("Slice", ["nothing", "nil", "single"], ["nothing_once"]),
        node("Add", ["nothing_once", "one"], ["own_weight"]),
        node("Loop", ["pairs", "", "nothing", "own_weight"], ["total", "weights"], body=_pair_body(patch)),
        node("Div", ["total", "weights"], ["change"]),
        node("Add", ["own", "change"], ["mean"]),
        node("Clip", ["mean", "zero", "one"], ["settled"]),
        node("Concat", ["three", "canvas"], ["unfolded"], axis=0),
        node("Reshape", ["settled", "unfolded"], ["settled_tile"]),
        node("Concat", ["margin", "margin"], ["inner"], axis=0),
        node("Add", ["inner", "tile"], ["inner_end"]),
        node("Concat", ["single", "two"], ["last_two"], axis=0),
        node("Slice", ["settled_tile", "inner", "inner_end", "last_two"], ["result"]),
        node("Identity", ["go_on"], ["still_on"]),
    ]
    number, go_on = info("number", TensorProto.INT64, []), info("go_on", TensorProto.BOOL, [])
    results = [info("still_on", TensorProto.BOOL, []), info("result", TensorProto.FLOAT, [3, None, None])]
    return helper.make_graph(nodes, "tile", [number, go_on], results)


def _shifted(source: str, pads: str, result: str) -> onnx.NodeProto:
    return helper.make_node("Pad", [source, pads], [result])


def _box7(source: str, along: str, result: str) -> list[onnx.NodeProto]:
    node = helper.make_node
    return [
        _shifted(source, f"{along}_1", f"{result}_a"),
        node("Add", [source, f"{result}_a"], [f"{result}_2"]),
        _shifted(f"{result}_2", f"{along}_2", f"{result}_b"),
        node("Add", [f"{result}_2", f"{result}_b"], [f"{result}_4"]),
        node("Sub", [f"{result}_4", source], [f"{result}_right"]),
        _shifted(f"{result}_4", f"{along}_m3", f"{result}_left"),
        node("Add", [f"{result}_left", f"{result}_right"], [result]),
    ]


def _pair_body(patch: int) -> onnx.GraphProto:
    node, info = helper.make_node, helper.make_tensor_value_info
    nodes = [
        node("Gather", ["there", "pair"], ["forward"]),
        node("Gather", ["back", "pair"], ["backward"]),
        _shifted("own", "forward", "near"),
        node("Sub", ["near", "own"], ["difference"]),
        node("Mul", ["difference", "difference"], ["square"]),
        node("Split", ["square"], ["red", "green", "blue"], axis=0, num_outputs=3),
        node("Add", ["red", "green"], ["red_green"]),
        node("Add", ["red_green", "blue"], ["unlike"]),
        *_box7("unlike", "px", "tall"),
        *_box7("tall", "row", "patches"),
        node("Mul", ["patches", "falloff"], ["exponent"]),
        node("Max", ["exponent", "least"], ["safe_exponent"]),
        node("Exp", ["safe_exponent"], ["weight"]),
        node("Mul", ["difference", "weight"], ["weighted"]),
        _shifted("weighted", "backward", "weighted_back"),
        _shifted("weight", "backward", "weight_back"),
        node("Add", ["old_total", "weighted"], ["half_total"]),
        node("Sub", ["half_total", "weighted_back"], ["new_total"]),
        node("Add", ["old_weights", "weight"], ["half_weights"]),
        node("Add", ["half_weights", "weight_back"], ["new_weights"]),
        node("Identity", ["go_on_pair"], ["still_on_pair"]),
    ]
    return helper.make_graph(
        nodes,
        "pair",
        [
            info("pair", TensorProto.INT64, []),
            info("go_on_pair", TensorProto.BOOL, []),
            info("old_total", TensorProto.FLOAT, [3, None]),
            info("old_weights", TensorProto.FLOAT, [1, None]),
        ],
        [
            info("still_on_pair", TensorProto.BOOL, []),
            info("new_total", TensorProto.FLOAT, [3, None]),
            info("new_weights", TensorProto.FLOAT, [1, None]),
        ],
    )
