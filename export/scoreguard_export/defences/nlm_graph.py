"""The ONNX graph of the `nlm` defence, node by node: the number of pairs of offsets depends on an input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto
from onnx.helper import make_node as node

from scoreguard_export.defences.pair_mean_graph import PairMean, build_pair_mean_graph, shifted


def build_nlm_graph(*, patch: int, opset: int) -> onnx.ModelProto:
    """Build image, strength, search → purified.

    Args:
        patch: Height and width of the patches, in pixels: 3, 5 or 7.
        opset: At least 18.
    """
    parts = PairMean(
        name="nlm",
        parameters=("strength", "search"),
        constants=_constants(patch),
        plan=_plan(),
        shifts=[node("Mul", [f"right_{step}", "row"], [f"down_{step}"]) for step in _steps(patch)],
        weigh=_weigh(patch),
    )
    return build_pair_mean_graph(parts, opset)


def _steps(patch: int) -> dict[str, int]:
    """Return the shifts of `_box` by name, in pixels."""
    steps = {3: (1,), 5: (1,), 7: (1, 2)}[patch]
    return {**{f"by_{step}": step for step in steps}, "back": -(patch // 2)}


def _constants(patch: int) -> Mapping[str, Any]:
    return {
        "half": np.float32(0.5),
        "minus_mean": np.full((1, 3), -1.0 / (3 * patch * patch), np.float32),
        "two": np.array([2]),
        "border": np.array([patch // 2]),
        "scalar": np.array([], np.int64),
        "next": np.int64(1),
        **{f"right_{name}": np.array([0, -step, 0, step]) for name, step in _steps(patch).items()},
    }


def _plan() -> list[NodeProto]:
    """Compute the factors of the exponent, one per channel, and the offsets after the centre of the searched square."""
    return [
        node("Mul", ["strength", "strength"], ["strength_square"]),
        node("Div", ["minus_mean", "strength_square"], ["falloffs"]),
        node("Mul", ["search", "half"], ["half_search"]),
        node("Floor", ["half_search"], ["floored"]),
        node("Cast", ["floored"], ["whole"], to=TensorProto.INT64),
        node("Reshape", ["whole", "single"], ["reach"]),
        node("Add", ["reach", "border"], ["margin"]),
        node("Mul", ["reach", "two"], ["two_reaches"]),
        node("Add", ["two_reaches", "single"], ["span"]),
        node("Mul", ["span", "span"], ["offsets"]),
        node("Div", ["offsets", "two"], ["centre"]),
        node("Add", ["centre", "single"], ["after_centre"]),
        *(node("Reshape", [name, "scalar"], [f"{name}_number"]) for name in ("after_centre", "offsets")),
        node("Range", ["after_centre_number", "offsets_number", "next"], ["numbers"]),
        node("Div", ["numbers", "span"], ["row_of_square"]),
        node("Mod", ["numbers", "span"], ["column_of_square"]),
        node("Sub", ["row_of_square", "reach"], ["down"]),
        node("Sub", ["column_of_square", "reach"], ["right"]),
    ]


def _weigh(patch: int) -> list[NodeProto]:
    """Sum the channels by a product with the factors, which is faster than a reduction."""
    return [
        node("Mul", ["difference", "difference"], ["square"]),
        node("MatMul", ["falloffs", "square"], ["unlike"]),
        *_box(patch, "unlike", "wide", along="right"),
        *_box(patch, "wide", "exponent", along="down"),
    ]


def _box(patch: int, source: str, result: str, *, along: str) -> list[NodeProto]:
    """Sum `patch` neighbours: one arm up to the centre, and one after it, so the centre counts once."""
    nodes = [
        shifted(source, f"{along}_by_1", f"{result}_next"),
        node("Add", [source, f"{result}_next"], [f"{result}_2"]),
    ]
    if patch == 5:
        nodes += [
            shifted(f"{result}_2", f"{along}_by_1", f"{result}_next_2"),
            node("Add", [source, f"{result}_next_2"], [f"{result}_3"]),
        ]
    if patch == 7:
        nodes += [
            shifted(f"{result}_2", f"{along}_by_2", f"{result}_next_2"),
            node("Add", [f"{result}_2", f"{result}_next_2"], [f"{result}_4"]),
        ]
    arm = f"{result}_{patch // 2 + 1}"
    return [
        *nodes,
        node("Sub", [arm, source], [f"{result}_after"]),
        shifted(arm, f"{along}_back", f"{result}_until"),
        node("Add", [f"{result}_until", f"{result}_after"], [result]),
    ]
