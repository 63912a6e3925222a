"""ONNX graphs on the CPU: arrays are NumPy's, in the process's own memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from scoreguard.chain.devices import CPU
from scoreguard.chain.graph_cache import GraphCache
from scoreguard.chain.numerics import FP32
from scoreguard.v1.archive import Archive
from scoreguard.v1.manifest_pb2 import GraphFiles
from scoreguard.v1.scoring_pb2 import Computation
from scoreguard_handlers.worker.arrays import Array
from scoreguard_handlers.worker.call import Timings
from scoreguard_handlers.worker.deadline import Deadline
from scoreguard_handlers.worker.engines.base import EngineCall
from scoreguard_handlers.worker.engines.onnx_graph import LARGE_INPUT, OnnxGraph, onnx_graphs
from scoreguard_handlers.worker.finite import check_finite


class HostEngine:
    """The ONNX graphs of one archive, loaded a second time for large images: one copy is fast, one saves memory."""

    uses_torchscript = False

    def __init__(self, archive: Archive, *, threads: int) -> None:
        self._metric = archive.manifest.metric.graphs.onnx
        self._usual = onnx_graphs(archive, threads=threads)
        self._frugal = onnx_graphs(archive, threads=threads, arena=False)

    @property
    def name(self) -> str:
        """Engine, version and provider."""
        return self._usual[self._metric].engine

    @property
    def computation(self) -> Computation:
        """The CPU repeats its results."""
        return Computation(device=CPU, deterministic=True, precision=FP32)

    @contextmanager
    def call(self, deadline: Deadline, timings: Timings) -> Iterator[HostCall]:
        """Run one chain; values are checked at once."""
        yield HostCall(self, deadline, timings)

    def graphs_for(self, inputs: Mapping[str, Array]) -> GraphCache[OnnxGraph]:
        """Return the graphs that should run on these arrays."""
        return self._frugal if any(array.nbytes >= LARGE_INPUT for array in inputs.values()) else self._usual


class HostCall(EngineCall[Array]):
    """One chain that is running on the CPU."""

    def __init__(self, engine: HostEngine, deadline: Deadline, timings: Timings) -> None:
        super().__init__(deadline, timings)
        self._engine = engine

    def take(self, images: Array) -> Array:
        """Return the images themselves."""
        return images

    def give(self, values: Array) -> Array:
        """Return the values themselves."""
        return values

    def run(self, graphs: GraphFiles, inputs: Mapping[str, Array]) -> Array:
        """Run one graph; it stops between two nodes when the deadline passes."""
        return self._engine.graphs_for(inputs)[graphs.onnx].run(inputs, self.deadline)

    def array(self, values: Array) -> Array:
        """Return the NumPy array itself."""
        return values

    def join(self, parts: Sequence[Array], axis: int) -> Array:
        """Concatenate arrays."""
        return np.concatenate(parts, axis=axis)

    def check(self, values: Array, stage: str, what: str, *, who: str = "") -> None:
        """Refuse values that are not finite, at once."""
        check_finite(values, stage, what, who=who)
