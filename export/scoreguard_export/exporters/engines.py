"""Run exported files as the parity check needs: inputs in order, on the CPU with one thread, or on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from scoreguard.chain.devices import CUDA, THE_CPU, Device
from scoreguard.chain.execution import INEXACT_OPTIMISERS
from scoreguard.chain.onnx_devices import CPU_PROVIDER, CUDA_PROVIDER, cuda_providers
from scoreguard.chain.torchscript import load_graph, steady
from scoreguard.v1.errors import DeviceError
from scoreguard_export.exporters.quiet import quiet

Engine = Callable[[tuple[Tensor, ...]], Tensor]
"""Takes the inputs in the order of the graph and returns the output."""


def load_torchscript(path: Path) -> Engine:
    """Load a `.pt`; gradients pass through it.

    It runs as in the server and the surrogate, without the optimising executor, which replaces constants and would hide
    a graph that fails without it.

    Raises:
        RuntimeError: the file is not TorchScript.
    """
    with quiet():
        script = load_graph(path.read_bytes())

    def run(inputs: tuple[Tensor, ...]) -> Tensor:
        with steady():
            output: Tensor = script(*inputs)
        return output

    return run


def onnx_runs_on(device: Device) -> bool:
    """Return whether the ONNX Runtime that is installed can use a device: a GPU needs onnxruntime-gpu."""
    return device.is_cpu or (device.kind == CUDA and CUDA_PROVIDER in onnxruntime.get_available_providers())


def load_onnx(path: Path, names: Sequence[str], device: Device = THE_CPU) -> Engine:
    """Load an `.onnx` into ONNX Runtime.

    Args:
        path: The file.
        names: Names of the inputs, in order.
        device: Where it runs; inputs and outputs are on the CPU.

    Raises:
        DeviceError: ONNX Runtime cannot use the device.
        Exception: ONNX Runtime cannot read the file; its errors have no common base class.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if not device.is_cpu:
        options.use_deterministic_compute = True
    session = onnxruntime.InferenceSession(
        path.read_bytes(),
        options,
        providers=[CPU_PROVIDER] if device.is_cpu else cuda_providers(device.index),
        disabled_optimizers=INEXACT_OPTIMISERS,
    )
    if not device.is_cpu and session.get_providers()[0] != CUDA_PROVIDER:  # it falls back to the CPU without an error
        advice = "pip install 'onnxruntime-gpu[cuda,cudnn]', or choose device 'cpu'"
        raise DeviceError(device.name, "onnxruntime-gpu cannot load its CUDA libraries", advice)

    def run(inputs: tuple[Tensor, ...]) -> Tensor:
        feed = {name: value.detach().numpy() for name, value in zip(names, inputs, strict=True)}
        output: NDArray[np.float32] = session.run(None, feed)[0]
        return torch.from_numpy(output)

    return run
