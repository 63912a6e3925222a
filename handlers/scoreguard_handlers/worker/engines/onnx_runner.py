"""ONNX graphs on a device, by ONNX Runtime's IO binding: inputs and output are torch tensors on that device.

ONNX Runtime queues its work on torch's current stream where it runs on a GPU, so neither waits for the other.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from scoreguard.chain.devices import CPU, CUDA, Device
from scoreguard.chain.execution import INEXACT_OPTIMISERS
from scoreguard.chain.graph_cache import GraphCache
from scoreguard.chain.numerics import Numerics
from scoreguard.v1.archive import Archive
from scoreguard.v1.errors import DeviceMemoryError
from scoreguard.v1.manifest_pb2 import GraphFiles
from scoreguard_handlers.worker.deadline import Deadline
from scoreguard_handlers.worker.engines.onnx_run import FATAL, running
from scoreguard_handlers.worker.engines.providers import Providers


class OnnxRunner:
    """Runs the ONNX graphs of one archive on one device."""

    uses_torchscript = False

    def __init__(self, archive: Archive, device: Device, numerics: Numerics, providers: Providers) -> None:
        self._metric = archive.manifest.metric.graphs.onnx
        refusal = f"is no graph that onnxruntime {onnxruntime.__version__} can load"
        load = partial(BoundGraph, device=device, numerics=numerics, providers=providers)
        self._graphs = GraphCache(archive, load, refusal)

    @property
    def name(self) -> str:
        """Engine, version and provider."""
        return self._graphs[self._metric].name

    def run(self, graphs: GraphFiles, inputs: Mapping[str, Tensor], deadline: Deadline) -> Tensor:
        """Run one graph."""
        return self._graphs[graphs.onnx].run(inputs, deadline)


class BoundGraph:
    """A loaded graph with one output; safe to use from several threads, one run at a time."""

    def __init__(self, model: bytes | Path, *, device: Device, numerics: Numerics, providers: Providers) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = FATAL
        options.use_deterministic_compute = numerics.deterministic
        self._session = onnxruntime.InferenceSession(
            str(model) if isinstance(model, Path) else model,
            options,
            providers=providers.on(device, numerics),
            disabled_optimizers=INEXACT_OPTIMISERS,
        )
        providers.check(self._session.get_providers(), device)
        self._output = self._session.get_outputs()[0].name
        self._device, self._lock = device, threading.Lock()

    @property
    def name(self) -> str:
        """Engine, version and provider."""
        return f"onnxruntime {onnxruntime.__version__} {self._session.get_providers()[0]} {self._device.name}"

    def run(self, inputs: Mapping[str, Tensor], deadline: Deadline) -> Tensor:
        """Run the graph; stop between two nodes when the deadline passes.

        Raises:
            TooLateError: the deadline passed.
            CallerGoneError: the caller left.
            DeviceMemoryError: the device's memory does not suffice.
        """
        run_options = onnxruntime.RunOptions()
        run_options.log_severity_level = FATAL
        if self._device.kind == CUDA:
            # The stream is shared with torch: what comes next on it waits by itself.
            run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")

        def memory_error() -> DeviceMemoryError:
            return DeviceMemoryError(self._device.name, "the graph", tuple(next(iter(inputs.values())).shape))

        held = {name: value.contiguous() for name, value in inputs.items()}
        with self._lock, running(run_options, deadline, memory_error):
            return self._bound(held, run_options)

    def _bound(self, inputs: Mapping[str, Tensor], run_options: onnxruntime.RunOptions) -> Tensor:
        kind, index = (self._device.kind, self._device.index) if self._device.kind == CUDA else (CPU, 0)
        binding = self._session.io_binding()
        for name, value in inputs.items():
            binding.bind_input(name, kind, index, np.float32, tuple(value.shape), value.data_ptr())
        binding.bind_output(self._output, kind, index)
        self._session.run_with_iobinding(binding, run_options)
        output: Tensor = from_dlpack(binding.get_outputs()[0])
        return output
