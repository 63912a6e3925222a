"""Export both graphs of one module, compare them with it, and measure half precision where it is asked for."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scoreguard.chain.devices import Device
from scoreguard.v1.manifest_pb2 import HalfPrecision, ParityCase
from scoreguard_export.archive.facts import declares_half
from scoreguard_export.archive.half_precision import measure_half
from scoreguard_export.archive.parity import check_parity
from scoreguard_export.exporters.onnx_graph import export_onnx
from scoreguard_export.exporters.torchscript import export_torchscript
from scoreguard_export.graph_module import GraphModule


@dataclass(frozen=True, kw_only=True)
class ExportedGraphs:
    """A module as TorchScript and as ONNX."""

    torchscript: bytes
    onnx: bytes
    parity: Sequence[ParityCase]
    """How closely each graph agrees with the module, at sizes not used for the export."""
    half: HalfPrecision | None = None
    """What mixed half precision changes; None if the graph may only run in single precision."""


def export_graphs(module: GraphModule, half_on: Device | None = None) -> ExportedGraphs:
    """Export a module to both formats and compare.

    Args:
        module: A metric or a defence.
        half_on: The device that half precision is measured on; None = it is not.

    Raises:
        GraphError: the module cannot be exported.
        ParityError: a graph differs from the module by more than its tolerance.
        PrecisionError: half precision gives a value that is not finite.
    """
    module.eval()
    with tempfile.TemporaryDirectory() as folder:
        torchscript, onnx = Path(folder) / "module.pt", Path(folder) / "module.onnx"
        export_torchscript(module, torchscript)
        export_onnx(module, onnx)
        parity = check_parity(module, torchscript, onnx)
        written = torchscript.read_bytes()
        half = measure_half(module, written, half_on) if half_on is not None and declares_half(module) else None
        return ExportedGraphs(torchscript=written, onnx=onnx.read_bytes(), parity=parity, half=half)
