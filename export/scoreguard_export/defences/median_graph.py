"""The ONNX graph of the `median` defence, node by node: a `Loop` over strips of rows, with the network as its body.

A network of hundreds of nodes on a whole photograph would be memory-bound and need gigabytes at 12 megapixels; strips
stay in the cache and take a few megabytes at any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from scoreguard_export.defences.median_network import Step

_STRIP = 16384
"""Approximate pixels per strip: 200 kB for the three channels."""

_IMAGE: list[str | int | None] = ["batch", 3, "height", "width"]


def build_median_graph(
    kernel: int, column_steps: Sequence[Step], window_steps: Sequence[Step], middle: int, opset: int
) -> onnx.ModelProto:
    """Build image → purified.

    Args:
        kernel: Height and width of the window, in pixels.
        column_steps: Steps that sort the taps of a column.
        window_steps: Steps that bring the median of sorted columns to a slot.
        middle: That slot.
        opset: At least 13.
    """
    body = _Strip(kernel)
    ranks = [body.cut("strip", tap, "rows") for tap in range(kernel)]
    body.exchange(ranks, column_steps)
    window = [body.cut(rank, tap, "columns") for rank in ranks for tap in range(kernel)]
    body.exchange(window, window_steps)
    node = helper.make_node
    nodes = [*_planning_nodes(), node("Loop", ["strips", ""], ["filtered"], body=body.graph(window[middle]))]
    nodes += [
        # (strips, N, 3, rows, W) → (N, 3, strips · rows, W), then drop the rows that filled the last strip.
        node("Transpose", ["filtered"], ["ordered"], perm=[1, 2, 0, 3, 4]),
        node("Concat", ["outer", "any", "width"], ["joined_shape"], axis=0),
        node("Reshape", ["ordered", "joined_shape"], ["joined"]),
        node("Slice", ["joined", "none", "height", "rows"], ["purified"]),
    ]
    graph = helper.make_graph(
        nodes,
        "median",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, _IMAGE)],
        [helper.make_tensor_value_info("purified", TensorProto.FLOAT, _IMAGE)],
        _constants(kernel),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def _planning_nodes() -> list[onnx.NodeProto]:
    """Count the strips and their rows: strips = ⌈H·W / about a strip⌉, rows = ⌈H / strips⌉; then extend the borders."""
    node = helper.make_node
    return [
        node("Shape", ["image"], ["outer"], start=0, end=2),
        node("Shape", ["image"], ["height"], start=2, end=3),
        node("Shape", ["image"], ["width"], start=3, end=4),
        node("Mul", ["height", "width"], ["pixels"]),
        node("Div", ["pixels", "strip_size"], ["whole_strips"]),
        node("Add", ["whole_strips", "one"], ["wanted_strips"]),
        node("Min", ["wanted_strips", "height"], ["strip_count"]),
        node("Squeeze", ["strip_count"], ["strips"]),
        node("Add", ["height", "strip_count"], ["height_and_more"]),
        node("Sub", ["height_and_more", "one"], ["rounded_up"]),
        node("Div", ["rounded_up", "strip_count"], ["strip_rows"]),
        node("Add", ["strip_rows", "overlap"], ["strip_reach"]),
        node("Mul", ["strip_rows", "strip_count"], ["filled_height"]),
        node("Sub", ["filled_height", "height"], ["missing"]),
        node("Add", ["missing", "reach"], ["below"]),
        node("Concat", ["none", "none", "reach", "reach", "none", "none", "below", "reach"], ["pads"], axis=0),
        node("Pad", ["image", "pads"], ["padded"], mode="edge"),
    ]


def _constants(kernel: int) -> list[TensorProto]:
    values = {"none": 0, "one": 1, "any": -1, "strip_size": _STRIP, "overlap": kernel - 1, "reach": kernel // 2}
    values |= {"rows": 2, "columns": 3, "end": np.iinfo(np.int64).max}
    values |= {f"start{tap}": tap for tap in range(kernel)} | {
        f"end{tap}": tap - kernel + 1 for tap in range(kernel - 1)
    }
    return [numpy_helper.from_array(np.array([value], dtype=np.int64), name) for name, value in values.items()]


class _Strip:
    """The nodes that filter one strip."""

    def __init__(self, kernel: int) -> None:
        self._kernel = kernel
        self._numbers = count()
        node = helper.make_node
        self._nodes = [
            node("Mul", ["number", "strip_rows"], ["first_row"]),
            node("Add", ["first_row", "strip_reach"], ["last_row"]),
            node("Slice", ["padded", "first_row", "last_row", "rows"], ["strip"]),
            node("Identity", ["go_on"], ["still_on"]),
        ]

    def cut(self, source: str, tap: int, axis: str) -> str:
        """Drop `tap` rows or columns before, and the rest of the window after."""
        after = f"end{tap}" if tap < self._kernel - 1 else "end"
        return self._add("Slice", [source, f"start{tap}", after, axis])

    def exchange(self, slots: list[str], steps: Sequence[Step]) -> None:
        """Run a network on the names of values."""
        for low, high, smaller, larger in steps:
            pair = [slots[low], slots[high]]
            if smaller:
                slots[low] = self._add("Min", pair)
            if larger:
                slots[high] = self._add("Max", pair)

    def graph(self, result: str) -> onnx.GraphProto:
        """Close the body."""
        info = helper.make_tensor_value_info
        return helper.make_graph(
            self._nodes,
            "strip",
            [info("number", TensorProto.INT64, []), info("go_on", TensorProto.BOOL, [])],
            [
                info("still_on", TensorProto.BOOL, []),
                info(result, TensorProto.FLOAT, ["batch", 3, "strip_rows", "width"]),
            ],
        )

    def _add(self, operation: str, inputs: list[str]) -> str:
        name = f"value{next(self._numbers)}"
        self._nodes.append(helper.make_node(operation, inputs, [name]))
        return name
