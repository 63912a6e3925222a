"""What a chain needs of an engine: to take a batch, run graphs on it stage by stage, and give results back."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from scoreguard.v1.manifest_pb2 import GraphFiles
from scoreguard.v1.scoring_pb2 import Computation
from scoreguard_handlers.errors import ServingError, as_serving_error
from scoreguard_handlers.worker.arrays import Array
from scoreguard_handlers.worker.call import Timings
from scoreguard_handlers.worker.deadline import Deadline

A = TypeVar("A")
"""The array type of an engine."""


class ChainEngine(Protocol):
    """The graphs of one archive, loaded on first use; safe to use from several threads."""

    @property
    def name(self) -> str:
        """Engine, version and provider or device."""
        ...

    @property
    def computation(self) -> Computation:
        """How graphs are computed, for the provenance."""
        ...

    @property
    def uses_torchscript(self) -> bool:
        """Whether the TorchScript graphs run instead of the ONNX ones."""
        ...

    def call(self, deadline: Deadline, timings: Timings) -> AbstractContextManager[EngineCall[Any]]:
        """Run one chain in the block; at its end, all that was checked is known to be finite.

        Raises:
            NotFiniteError: a value that was checked is not finite.
        """
        ...


class EngineCall(ABC, Generic[A]):
    """One chain that is running."""

    def __init__(self, deadline: Deadline, timings: Timings) -> None:
        self.deadline, self.timings = deadline, timings

    @abstractmethod
    def take(self, images: Array) -> A:
        """Bring a batch (N, 3, H, W) to where the graphs run."""

    @abstractmethod
    def give(self, values: A) -> Array:
        """Bring values back."""

    @abstractmethod
    def run(self, graphs: GraphFiles, inputs: Mapping[str, A]) -> A:
        """Run one graph on inputs in its order."""

    @abstractmethod
    def array(self, values: Array) -> A:
        """Return an array of the engine's type."""

    @abstractmethod
    def join(self, parts: Sequence[A], axis: int) -> A:
        """Concatenate arrays."""

    @abstractmethod
    def check(self, values: A, stage: str, what: str, *, who: str = "") -> None:
        """Refuse values that are not finite, now or at the end of the call; see `check_finite`."""

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Count the wall time of the block for a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.timings.add(stage, started)

    def stage(self, name: str) -> Stage[A]:
        """Return the engine for one stage."""
        return Stage(call=self, name=name)


@dataclass(frozen=True, kw_only=True)
class Stage(Generic[A]):
    """One stage of one call, as an `execution.Engine`: it stops when the work is no longer needed."""

    call: EngineCall[A]
    name: str

    def run(self, graphs: GraphFiles, inputs: Mapping[str, A]) -> A:
        """Run one graph.

        Raises:
            ServingError: it failed, or the deadline passed; the metadata names the stage.
        """
        self.call.deadline.check(self.name)
        try:
            with self.call.timed(self.name):
                return self.call.run(graphs, inputs)
        except Exception as error:
            if isinstance(error, ServingError):
                error.metadata.setdefault("stage", self.name)
                raise  # an error that is its own cause would be a cycle and keep this call's arrays alive
            raise as_serving_error(error, stage=self.name) from error

    def array(self, values: Array) -> A:
        """Return an array of the engine's type."""
        return self.call.array(values)

    def join(self, parts: Sequence[A], axis: int) -> A:
        """Concatenate arrays."""
        return self.call.join(parts, axis)
