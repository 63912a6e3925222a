"""Part of an ONNX graph: a `Loop` cuts images into tiles that stay in a core's cache, and processes each independently.

A tile is stored flat, row after row, so shifting it is one memory copy. Values that wrap around at the end of a row are
wrong only in the margin, which is cut off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper
from onnx.helper import make_node as node
from onnx.helper import make_tensor_value_info as info

_TILE = 160
"""Largest height and width of a tile without its margin: smaller has more margin, larger exceeds a 2 MB cache."""

TILE_CONSTANTS: Mapping[str, Any] = {
    "single": np.array([1]),
    "three": np.array([3]),
    "two_nils": np.array([0, 0]),
    "tile_limit": np.array([_TILE]),
    "tile_limit_less": np.array([_TILE - 1]),
    "last_two": np.array([1, 2]),
    "spatial": np.array([2, 3]),
    "item_and_spatial": np.array([0, 2, 3]),
    "flat": np.array([3, -1]),
}


def tiling() -> list[NodeProto]:
    """`image` and `margin`, of shape (1,), → `row`: the number of pixels in a tile's row, margins included, and more.

    Tiles are equal and no larger than the limit; the last ones extend beyond the image, by less than a pixel per tile.
    `Split` takes the number of its outputs from opset 18.
    """
    return [
        node("Shape", ["image"], ["batch"], start=0, end=1),
        node("Shape", ["image"], ["size"], start=2, end=4),
        node("Add", ["size", "tile_limit_less"], ["almost_next"]),
        node("Div", ["almost_next", "tile_limit"], ["counts"]),
        node("Add", ["size", "counts"], ["past_size"]),
        node("Sub", ["past_size", "single"], ["last_size"]),
        node("Div", ["last_size", "counts"], ["tile"]),
        node("Mul", ["tile", "counts"], ["covered"]),
        node("Sub", ["covered", "size"], ["beyond"]),
        node("Concat", ["margin", "margin"], ["corner_margin"], axis=0),
        node("Add", ["tile", "corner_margin"], ["inner_end"]),
        node("Add", ["inner_end", "corner_margin"], ["canvas"]),
        node("Split", ["canvas"], ["column", "row"], axis=0, num_outputs=2),
        node("Split", ["counts"], ["count_down", "count_right"], axis=0, num_outputs=2),
        node("Mul", ["count_down", "count_right"], ["per_item"]),
        node("Mul", ["per_item", "batch"], ["tiles"]),
        node("Add", ["corner_margin", "beyond"], ["end_margin"]),
        node("Concat", ["two_nils", "corner_margin", "two_nils", "end_margin"], ["mirrored"], axis=0),
        node("Pad", ["image", "mirrored"], ["padded"], mode="reflect"),
    ]


def tiled(work: Sequence[NodeProto]) -> list[NodeProto]:
    """Process every tile independently, then join the tiles.

    Args:
        work: `own` → `settled`, both (3, pixels), flat tiles with their margins.
    """
    return [
        node("Loop", ["tiles", ""], ["stack"], body=_body(work)),
        node("Concat", ["batch", "counts", "three", "tile"], ["apart"], axis=0),
        node("Reshape", ["stack", "apart"], ["stack_apart"]),
        node("Transpose", ["stack_apart"], ["side_by_side"], perm=[0, 3, 1, 4, 2, 5]),
        node("Concat", ["batch", "three", "covered"], ["together"], axis=0),
        node("Reshape", ["side_by_side", "together"], ["joined"]),
        node("Slice", ["joined", "two_nils", "size", "spatial"], ["purified"]),
    ]


def _body(work: Sequence[NodeProto]) -> onnx.GraphProto:
    nodes = [
        *_cut(),
        *work,
        node("Concat", ["three", "canvas"], ["unfolded"], axis=0),
        node("Reshape", ["settled", "unfolded"], ["settled_tile"]),
        node("Slice", ["settled_tile", "corner_margin", "inner_end", "last_two"], ["result"]),
        node("Identity", ["go_on"], ["still_on"]),
    ]
    number, go_on = info("number", TensorProto.INT64, []), info("go_on", TensorProto.BOOL, [])
    results = [info("still_on", TensorProto.BOOL, []), info("result", TensorProto.FLOAT, [3, None, None])]
    return helper.make_graph(nodes, "one_tile", [number, go_on], results)


def _cut() -> list[NodeProto]:
    """Map a tile number to the tile's pixels, margins included."""
    return [
        node("Div", ["number", "per_item"], ["item"]),
        node("Div", ["number", "count_right"], ["rows_before"]),
        node("Mod", ["rows_before", "count_down"], ["tiles_above"]),
        node("Mod", ["number", "count_right"], ["tiles_left"]),
        node("Concat", ["tiles_above", "tiles_left"], ["place"], axis=0),
        node("Mul", ["place", "tile"], ["corner"]),
        node("Add", ["corner", "canvas"], ["corner_end"]),
        node("Add", ["item", "single"], ["next_item"]),
        node("Concat", ["item", "corner"], ["starts"], axis=0),
        node("Concat", ["next_item", "corner_end"], ["ends"], axis=0),
        node("Slice", ["padded", "starts", "ends", "item_and_spatial"], ["cut"]),
        node("Reshape", ["cut", "flat"], ["own"]),
    ]
