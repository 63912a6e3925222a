"""Export the graphs of a metric: its own, and for a metric of videos those of frames and clips."""

from __future__ import annotations

from scoreguard.chain.devices import Device
from scoreguard.v1.manifest_pb2 import GraphFiles, MetricArtifact
from scoreguard_export.archive.export_graphs import export_graphs
from scoreguard_export.clip_graphs import PoolGraph
from scoreguard_export.exporters.onnx_graph import OPSET
from scoreguard_export.graph_module import Role
from scoreguard_export.metrics.base import Metric


def export_metric(metric: Metric, artifact: MetricArtifact, half_on: Device | None = None) -> dict[str, bytes]:
    """Export every graph of a metric, compare it with its module, and record both in the artifact.

    Args:
        metric: In evaluation mode.
        artifact: Gets the paths of the graphs and their parity.
        half_on: The device that half precision is measured on; None = it is not, as for frames and clips.

    Returns:
        The files, by their path in an archive.

    Raises:
        GraphError: the metric cannot be exported.
        ParityError: a graph differs from its module.
        PrecisionError: half precision gives a value that is not finite.
    """
    places = {
        Role.GRAPH: ("metric", artifact.graphs, artifact.parity),
        Role.FRAME: ("frame", artifact.frame, artifact.frame_parity),
        Role.POOL: ("pool", artifact.pool, artifact.pool_parity),
    }
    files: dict[str, bytes] = {}
    for role, part in metric.graphs().items():
        stem, graphs, parity = places[role]
        exported = export_graphs(part, half_on)
        graphs.CopyFrom(GraphFiles(torchscript=f"{stem}.pt", onnx=f"{stem}.onnx", onnx_opset=OPSET, half=exported.half))
        parity.extend(exported.parity)
        files |= {graphs.torchscript: exported.torchscript, graphs.onnx: exported.onnx}
        if isinstance(part, PoolGraph):
            artifact.frame_numbers = part.numbers
    return files
