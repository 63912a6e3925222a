"""Graphs on a device of torch: every array between decoding and the score stays in the device's memory.

Two runners: TorchScript, and ONNX Runtime on an NVIDIA GPU. The device works while the host is already ahead, so values
are checked, and stages timed, by what the device reports at the end of a call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from scoreguard.chain.devices import CUDA, Device
from scoreguard.chain.numerics import Numerics
from scoreguard.chain.torchscript import steady, upload
from scoreguard.v1.errors import DeviceMemoryError
from scoreguard.v1.manifest_pb2 import GraphFiles
from scoreguard.v1.scoring_pb2 import Computation
from scoreguard_handlers.worker.arrays import Array
from scoreguard_handlers.worker.call import Timings
from scoreguard_handlers.worker.deadline import Deadline
from scoreguard_handlers.worker.engines.base import EngineCall
from scoreguard_handlers.worker.engines.torch_threads import torch_threads
from scoreguard_handlers.worker.finite import not_finite


class Runner(Protocol):
    """Runs graphs on tensors of one device."""

    @property
    def name(self) -> str:
        """Engine, version and provider or device."""
        ...

    @property
    def uses_torchscript(self) -> bool:
        """Whether the TorchScript graphs run."""
        ...

    def run(self, graphs: GraphFiles, inputs: Mapping[str, Tensor], deadline: Deadline) -> Tensor:
        """Run one graph on inputs in its order."""
        ...


class DeviceEngine:
    """The graphs of one archive on one device."""

    def __init__(self, runner: Runner, device: Device, numerics: Numerics, *, threads: int) -> None:
        self._runner, self._device, self._numerics, self._threads = runner, device, numerics, threads
        self.device = device.torch
        """The device of every tensor."""
        self._stream = torch.cuda.Stream(self.device) if device.kind == CUDA else None  # type: ignore[no-untyped-call]

    @property
    def name(self) -> str:
        """Engine, version and provider or device."""
        with self._on_stream():  # it loads the metric's graph, which keeps the stream that it is loaded on
            return self._runner.name

    @property
    def uses_torchscript(self) -> bool:
        """Whether the TorchScript graphs run."""
        return self._runner.uses_torchscript

    @property
    def computation(self) -> Computation:
        """The device, and how it computes."""
        numerics = self._numerics
        return Computation(
            device=self._device.name,
            deterministic=numerics.deterministic,
            tf32=numerics.tf32 and self._device.kind == CUDA,
            precision=numerics.precision,
        )

    @contextmanager
    def call(self, deadline: Deadline, timings: Timings) -> Iterator[DeviceCall]:
        """Run one chain; at the end, one transfer says whether all values were finite.

        Raises:
            NotFiniteError: a value that was checked is not finite.
        """
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(steady())
            stack.enter_context(torch_threads(self._threads))
            stack.enter_context(self._on_stream())
            call = DeviceCall(self, self._runner, deadline, timings)
            yield call
            call.finish()

    def _on_stream(self) -> AbstractContextManager[None]:
        """Queue work on the engine's own stream, which ONNX Runtime shares with torch."""
        return nullcontext() if self._stream is None else _stream(self._stream)


@contextmanager
def _stream(stream: torch.cuda.Stream) -> Iterator[None]:
    try:
        with torch.cuda.stream(stream):
            yield
    except DeviceMemoryError:
        torch.cuda.empty_cache()  # in pieces that are too small for the next image
        raise


@dataclass(frozen=True, kw_only=True)
class _Check:
    wrong: Tensor
    """Number of values that are not finite, 0-d, on the device."""
    size: int
    stage: str
    what: str
    who: str


class DeviceCall(EngineCall[Tensor]):
    """One chain that is running on a device."""

    def __init__(self, engine: DeviceEngine, runner: Runner, deadline: Deadline, timings: Timings) -> None:
        super().__init__(deadline, timings)
        self._device, self._runner = engine.device, runner
        self._checks: list[_Check] = []
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    def take(self, images: Array) -> Tensor:
        """Copy a batch to the device."""
        try:
            return upload(images, self._device)
        except torch.OutOfMemoryError as error:
            raise DeviceMemoryError(str(self._device), "the batch", images.shape) from error

    def give(self, values: Tensor) -> Array:
        """Copy values from the device, after all that was queued before."""
        host: Array = values.cpu().numpy()
        return host

    def run(self, graphs: GraphFiles, inputs: Mapping[str, Tensor]) -> Tensor:
        """Run one graph."""
        return self._runner.run(graphs, inputs, self.deadline)

    def array(self, values: Array) -> Tensor:
        """Return a tensor on the device."""
        return upload(values, self._device)

    def join(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        """Concatenate tensors."""
        return torch.cat(list(parts), dim=axis)

    def check(self, values: Tensor, stage: str, what: str, *, who: str = "") -> None:
        """Count what is not finite, on the device; `finish` reads the counts."""
        wrong = (~values.isfinite()).sum()
        self._checks.append(_Check(wrong=wrong, size=values.numel(), stage=stage, what=what, who=who))

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Count the device's time on a GPU, the host's otherwise."""
        if self._device.type != CUDA:
            with super().timed(stage):
                yield
            return
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        yield
        end.record()
        self._events.append((stage, begin, end))

    def finish(self) -> None:
        """Wait for the device, and report what it found.

        Raises:
            NotFiniteError: a checked value is not finite; the first such stage is named.
        """
        counts = torch.stack([check.wrong for check in self._checks]).cpu().tolist() if self._checks else []
        for stage, begin, end in self._events:
            end.synchronize()
            self.timings.count(stage, begin.elapsed_time(end))
        for check, wrong in zip(self._checks, counts, strict=True):
            if wrong:
                raise not_finite(wrong, check.size, check.stage, check.what, who=check.who)
