"""Export both graphs of one module and compare them with it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scoreguard.v1.manifest_pb2 import ParityCase
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


def export_graphs(module: GraphModule) -> ExportedGraphs:
    """Export a module to both formats and compare.

    Raises:
        GraphError: the module cannot be exported.
        ParityError: a graph differs from the module by more than its tolerance.
    """
    module.eval()
    with tempfile.TemporaryDirectory() as folder:
        torchscript, onnx = Path(folder) / "module.pt", Path(folder) / "module.onnx"
        export_torchscript(module, torchscript)
        export_onnx(module, onnx)
        parity = check_parity(module, torchscript, onnx)
        return ExportedGraphs(torchscript=torchscript.read_bytes(), onnx=onnx.read_bytes(), parity=parity)
