"""The ONNX graph of the `upscale` defence: the graph of `resize`, with an enlargement in another mode."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from scoreguard_export.defences.resize_graph import build_resize_graph


def build_upscale_graph(*, degree: int, antialias: bool, opset: int) -> onnx.ModelProto:
    """Build image, scale → purified.

    Args:
        degree: Degree of the enlargement: 0 nearest pixel, 1 bilinear, 3 bicubic.
        antialias: Widen the filter with the reduction.
        opset: At least 18, the first in which `Resize` can antialias.
    """
    model = build_resize_graph(antialias=antialias, restore=True, opset=opset)
    graph = model.graph
    graph.name = "upscale"
    place = next(index for index, node in enumerate(graph.node) if node.output[0] == "restored")
    if degree == 1:
        return model
    enlarging = [_cubic()] if degree == 3 else _nearest()
    nodes = [*graph.node[:place], *enlarging, *graph.node[place + 1 :]]
    del graph.node[:]
    graph.node.extend(nodes)
    if degree == 0:
        constants = {"first": 0, "next": 1, "rows": 2, "columns": 3}
        graph.initializer.extend(numpy_helper.from_array(np.asarray(at), name) for name, at in constants.items())
    return model


def _cubic() -> onnx.NodeProto:
    return helper.make_node(
        "Resize",
        ["small", "", "", "shape"],
        ["restored"],
        mode="cubic",
        cubic_coeff_a=-0.75,
        coordinate_transformation_mode="half_pixel",
    )


def _nearest() -> list[onnx.NodeProto]:
    """Gather by integer indices: the index of `Resize` is a quotient of floats, which may round to the next pixel."""
    node = helper.make_node
    return [
        *_chosen("rows"),
        *_chosen("columns"),
        node("Gather", ["small", "chosen_rows"], ["tall"], axis=2),
        node("Gather", ["tall", "chosen_columns"], ["restored"], axis=3),
    ]


def _chosen(axis: str) -> list[onnx.NodeProto]:
    """Compute, for i = 0 … large − 1, the index i·small/large, rounded down."""
    node = helper.make_node
    return [
        node("Gather", ["shape", axis], [f"large_{axis}"]),
        node("Gather", ["small_shape", axis], [f"small_{axis}"]),
        node("Range", ["first", f"large_{axis}", "next"], [f"all_{axis}"]),
        node("Mul", [f"all_{axis}", f"small_{axis}"], [f"scaled_{axis}"]),
        node("Div", [f"scaled_{axis}", f"large_{axis}"], [f"chosen_{axis}"]),
    ]
