"""The check that a defence is the same in both engines, for the tests of one defence."""

from __future__ import annotations

from pathlib import Path

from scoreguard_export.archive.parity import check_parity, parity_cases
from scoreguard_export.defences.base import Defence
from scoreguard_export.exporters.onnx_graph import export_onnx
from scoreguard_export.exporters.torchscript import export_torchscript


def assert_engines_agree(defence: Defence, home: Path) -> float:
    """Export, and compare values and gradient at every parity case; gives the largest difference.

    Args:
        defence: What to export.
        home: An empty folder for the two files.
    """
    defence = defence.eval()
    export_torchscript(defence, home / "graph.pt")
    export_onnx(defence, home / "graph.onnx")
    records = check_parity(defence, home / "graph.pt", home / "graph.onnx")
    assert len(records) == 2 * len(parity_cases(defence))
    return max(record.max_abs_error for record in records)
