"""Run g, the defences, and then f, the metric, on a batch. Independent of TorchServe, gRPC and requests."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from scoreguard.chain.execution import run_step
from scoreguard.chain.graph_cache import GraphCache
from scoreguard.chain.resolve import ResolvedStep
from scoreguard.chain.rounding import Rounding
from scoreguard.v1.archive import Archive
from scoreguard.v1.manifest_pb2 import GraphFiles
from scoreguard_handlers.errors import ServingError, as_serving_error
from scoreguard_handlers.worker.arrays import Array
from scoreguard_handlers.worker.deadline import Deadline
from scoreguard_handlers.worker.engines.onnx_graph import LARGE_INPUT, OnnxGraph, onnx_graphs
from scoreguard_handlers.worker.finite import check_finite
from scoreguard_handlers.worker.size_check import METRIC_STAGE, check_metric, check_step


@dataclass
class Timings:
    """Wall time of each stage of one batch."""

    milliseconds: dict[str, float] = field(default_factory=dict)

    def add(self, stage: str, started: float) -> None:
        """Count the time since `started` (`time.perf_counter`) for a stage."""
        spent = (time.perf_counter() - started) * 1000
        self.milliseconds[stage] = self.milliseconds.get(stage, 0.0) + spent


@dataclass(frozen=True, kw_only=True)
class ChainCall:
    """How to run a batch."""

    steps: Sequence[ResolvedStep]
    """The defences, in order."""
    seeds: Sequence[int]
    """One seed per image."""
    deadline: Deadline
    """When the work is no longer needed."""
    undefended: bool = False
    """Whether f(x) is requested in addition to f(g(x))."""
    rounding: Rounding = Rounding.STRAIGHT_THROUGH
    """The derivative to use for rounding in gradients."""


@dataclass(frozen=True, kw_only=True)
class ChainResult:
    """The results of a batch of N images."""

    purified: Array
    """g(x), (N, 3, H', W') in [0, 1]; the input itself if there was no defence."""
    scores: Array
    """f(g(x)), (N,); empty if no score was requested."""
    undefended: Array | None
    """f(x), (N,), if requested."""
    timings: Timings


@dataclass(frozen=True, kw_only=True)
class Graphs:
    """The graphs of one archive, loaded a second time for large images: one copy is fast, the other saves memory."""

    usual: GraphCache[OnnxGraph]
    frugal: GraphCache[OnnxGraph]

    @classmethod
    def of(cls, archive: Archive, threads: int) -> Graphs:
        """Make the graphs of an archive; each is loaded on first use."""
        return cls(
            usual=onnx_graphs(archive, threads=threads), frugal=onnx_graphs(archive, threads=threads, arena=False)
        )

    def for_inputs(self, inputs: Mapping[str, Array]) -> GraphCache[OnnxGraph]:
        """Return the graphs that should run on these arrays."""
        return self.frugal if any(array.nbytes >= LARGE_INPUT for array in inputs.values()) else self.usual


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of one call, as an engine: it stops when the work is no longer needed, and times its graphs."""

    name: str
    graphs: Graphs
    deadline: Deadline
    timings: Timings

    def run(self, graphs: GraphFiles, inputs: Mapping[str, Array]) -> Array:
        """Run one graph.

        Raises:
            ServingError: it failed, or the deadline passed; the metadata names the stage.
        """
        self.deadline.check(self.name)
        started = time.perf_counter()
        try:
            return self.graphs.for_inputs(inputs)[graphs.onnx].run(inputs, self.deadline)
        except Exception as error:
            if isinstance(error, ServingError):
                error.metadata.setdefault("stage", self.name)
                raise  # an error that is its own cause would be a cycle and keep this call's arrays alive
            raise as_serving_error(error, stage=self.name) from error
        finally:
            self.timings.add(self.name, started)

    def array(self, values: Array) -> Array:
        """Return the NumPy array itself."""
        return values

    def join(self, parts: Sequence[Array], axis: int) -> Array:
        """Concatenate arrays."""
        return np.concatenate(parts, axis=axis)


class Chain:
    """The graphs of one archive as a chain; safe to run from several threads."""

    def __init__(self, archive: Archive, *, threads: int) -> None:
        self._metric_graphs = archive.manifest.metric.graphs
        self._metric = archive.manifest.metric.facts
        self._graphs = Graphs.of(archive, threads)

    @property
    def engine(self) -> str:
        """Return engine, version and provider of the graphs."""
        return self._graphs.usual[self._metric_graphs.onnx].engine

    def purify(self, images: Array, call: ChainCall) -> ChainResult:
        """Return g(x) for a batch (N, 3, H, W).

        Raises:
            NotFiniteError: a step gave a value that is not finite.
            ServingError: a stage failed; the metadata names it.
        """
        timings, held = Timings(), [images]
        del images  # now only the chain holds them, and releases them after the first step
        purified = self._purify(held, call, timings)
        return ChainResult(purified=purified, scores=np.empty(0, np.float32), undefended=None, timings=timings)

    def score(self, images: Array, call: ChainCall) -> ChainResult:
        """Return f(g(x)), and f(x) if requested, for a batch (N, 3, H, W).

        Raises:
            NotFiniteError: a step or the metric gave a value that is not finite.
            ServingError: a stage failed; the metadata names it.
        """
        timings, held = Timings(), [images]
        undefended = self._score(images, call, timings) if call.undefended and call.steps else None
        del images
        purified = self._purify(held, call, timings)
        scores = self._score(purified, call, timings)
        if call.undefended and not call.steps:
            undefended = scores
        return ChainResult(purified=purified, scores=scores, undefended=undefended, timings=timings)

    def _purify(self, held: list[Array], call: ChainCall, timings: Timings) -> Array:
        images = held.pop()
        for index, step in enumerate(call.steps):
            check_step(step, images.shape[2:], index)
            images = run_step(self._stage(str(step.step), call, timings), images, step, call.seeds, index)
            check_finite(images, str(step.step), "an image")
        return images

    def _score(self, images: Array, call: ChainCall, timings: Timings) -> Array:
        check_metric(self._metric, images.shape[2:])
        stage = self._stage(METRIC_STAGE, call, timings)
        scores = stage.run(self._metric_graphs, {"image": images}).reshape(len(images))
        check_finite(scores, METRIC_STAGE, "a score", who=f"metric {self._metric.name!r}")
        return scores

    def _stage(self, name: str, call: ChainCall, timings: Timings) -> Stage:
        return Stage(name=name, graphs=self._graphs, deadline=call.deadline, timings=timings)
