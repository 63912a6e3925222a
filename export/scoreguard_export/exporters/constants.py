"""Check that the constants of a module are in its ONNX graph: an exporter that drops one changes the scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import fx
from torch.export import ExportedProgram

_aten: Final = torch.ops.aten
_NEUTRAL: Final[Mapping[Any, float]] = {
    **dict.fromkeys((_aten.add.Tensor, _aten.add.Scalar, _aten.sub.Tensor, _aten.sub.Scalar), 0.0),
    **dict.fromkeys((_aten.mul.Tensor, _aten.mul.Scalar, _aten.div.Tensor, _aten.div.Scalar), 1.0),
}
"""The operations whose constants are checked, each with its neutral constant, which may be dropped."""
_WITHOUT_DATA: Final = frozenset(
    {
        *(_aten.scalar_tensor, _aten.full, _aten.zeros, _aten.ones, _aten.arange, _aten.eye, _aten.linspace),
        *(_aten.full_like, _aten.zeros_like, _aten.ones_like, _aten.new_full, _aten.new_zeros, _aten.new_ones),
    }
)
"""Operations whose result depends only on shapes: an optimiser may fold what is computed from it."""
Array = npt.NDArray[Any]


def lost_constants(program: ExportedProgram, model: onnx.ModelProto) -> list[float]:
    """Return the terms and factors of a captured module that its ONNX graph lacks, in ascending order.

    Only those that are combined with values of an input on the way to an output count: what is computed from constants
    alone may be folded. They are compared in the type of the operation's result.
    """
    kept = list(_arrays(model.graph))
    wanted = {(value, dtype) for value, dtype in _constants(program)}
    return sorted({value for value, dtype in wanted if not _holds(kept, np.asarray(value, dtype))})


def _holds(arrays: list[Array], value: Array) -> bool:
    return any(array.dtype == value.dtype and bool((array == value).any()) for array in arrays)


def _constants(program: ExportedProgram) -> Iterator[tuple[float, npt.DTypeLike]]:
    """Yield the value and type of each constant that must not be lost."""
    dependent = _dependent(program)
    for node in program.graph.nodes:
        dtype = _dtype(node)
        if node.target not in _NEUTRAL or dtype is None or not dependent.intersection(node.all_input_nodes):
            continue
        for value in (_number(argument) for argument in node.args):
            if value is not None and np.asarray(value, dtype) != _NEUTRAL[node.target]:
                yield value, dtype


def _dtype(node: fx.Node) -> npt.DTypeLike | None:
    """Return NumPy's floating type that an operation computes in; None for other types, which have no epsilons."""
    result = node.meta.get("val")
    names = {torch.float64: np.float64, torch.float32: np.float32, torch.float16: np.float16}
    return names.get(result.dtype) if isinstance(result, torch.Tensor) else None


def _number(argument: Any) -> float | None:
    """Return the number that an argument is, literally or as a tensor filled with it; None for anything else."""
    if isinstance(argument, fx.Node) and argument.target is _aten.scalar_tensor.default:
        argument = argument.args[0]
    return float(argument) if isinstance(argument, int | float) else None


def _dependent(program: ExportedProgram) -> set[fx.Node]:
    """Return the nodes whose values depend on an input; parameters and buffers are not inputs."""
    inputs, found = set(program.graph_signature.user_inputs), set[fx.Node]()
    for node in program.graph.nodes:
        carries = getattr(node.target, "overloadpacket", None) not in _WITHOUT_DATA
        if node.name in inputs or (carries and found.intersection(node.all_input_nodes)):
            found.add(node)
    return found


def _arrays(graph: onnx.GraphProto) -> Iterator[Array]:
    """Yield every constant of a graph and of its subgraphs."""
    yield from map(numpy_helper.to_array, graph.initializer)
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        if attribute.HasField("t"):
            yield numpy_helper.to_array(attribute.t)
        if attribute.HasField("f") or attribute.floats:
            yield np.asarray([attribute.f, *attribute.floats], np.float32)
        if attribute.HasField("g"):
            yield from _arrays(attribute.g)
