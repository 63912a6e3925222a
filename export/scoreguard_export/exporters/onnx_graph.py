"""Write ONNX whose bytes depend only on the module: no paths, no stack traces, fixed axis names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import onnx
import torch
from google.protobuf.message import Message
from torch.export import Dim

from scoreguard_export.defences.base import RandomShape
from scoreguard_export.errors import GraphError
from scoreguard_export.exporters.constants import lost_constants
from scoreguard_export.exporters.exact import TRANSLATIONS, exact_patterns
from scoreguard_export.exporters.quiet import quiet
from scoreguard_export.exporters.signature import (
    describe,
    example_inputs,
    graph_defaults,
    input_names,
)
from scoreguard_export.graph_module import IMAGE_AXES, GraphModule

OPSET = 20
"""Opset of every graph; at least 18, the first in which `Resize` can antialias."""

_IR_VERSION = 10
"""Format version of every file: ONNX Runtime 1.18 and later read it."""


@runtime_checkable
class BuildsOnnx(Protocol):
    """A module that builds its own ONNX graph."""

    def onnx_model(self, opset: int) -> onnx.ModelProto:
        """Build the graph, with inputs and output named as `exporters.signature` says."""
        ...


def export_onnx(module: GraphModule, path: Path) -> None:
    """Write a module as one self-contained ONNX file that takes any batch, height and width.

    Args:
        module: In evaluation mode; on the CPU.
        path: File to write, `.onnx`.

    Raises:
        GraphError: the module cannot be captured with free sizes, one of its constants was lost on the way, or the
            graph is not valid ONNX.
    """
    try:
        with quiet():
            model = module.onnx_model(OPSET) if isinstance(module, BuildsOnnx) else _captured(module)
        _normalise(model, module)
        onnx.checker.check_model(model)
    except Exception as error:
        raise GraphError(describe(module), "ONNX", _reason(error)) from error
    path.write_bytes(model.SerializeToString(deterministic=True))


def _captured(module: GraphModule) -> onnx.ModelProto:
    with exact_patterns():
        program = torch.onnx.export(
            module,
            example_inputs(module),
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=input_names(module),
            output_names=[module.output_name],
            dynamic_shapes=tuple(_free(axes) for axes in _axes(module)),
            custom_translation_table=TRANSLATIONS,
            verbose=False,
        )
    if program is None or program.exported_program is None:
        raise RuntimeError("the exporter returned no program")
    model = program.model_proto
    if lost := lost_constants(program.exported_program, model):
        raise RuntimeError(f"the exporter lost the constants {', '.join(map(repr, lost))}")
    return model


def _axes(module: GraphModule) -> list[tuple[str | None, ...]]:
    """Return the names of the free axes of each input; None for a fixed axis."""
    drawn = [IMAGE_AXES if given.shape is RandomShape.IMAGE else ("batch",) for given in module.facts.random_inputs]
    return [module.input_axes(), *(() for _ in graph_defaults(module)), *drawn]


def _free(axes: tuple[str | None, ...]) -> dict[int, Any]:
    return {axis: Dim.DYNAMIC for axis, name in enumerate(axes) if name}


def _reason(error: BaseException) -> str:
    """Say the first cause, which torch wraps in general advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


def _normalise(model: onnx.ModelProto, module: GraphModule) -> None:
    model.ir_version = _IR_VERSION
    _strip(model)
    # Types of inner values name the axes by capture symbols; ONNX Runtime infers them again.
    del model.graph.value_info[:]
    for value, axes in zip(model.graph.input, _axes(module), strict=True):
        _name_axes(value, axes)
    _name_axes(model.graph.output[0], module.output_axes())


def _name_axes(value: onnx.ValueInfoProto, axes: tuple[str | None, ...]) -> None:
    for dimension, name in zip(value.type.tensor_type.shape.dim, axes, strict=True):
        if name:
            dimension.dim_param = name


def _strip(message: Message) -> None:
    """Clear documentation and metadata everywhere: stack traces with paths of this machine."""
    for name in ("doc_string", "metadata_props"):
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                _strip(inner)
