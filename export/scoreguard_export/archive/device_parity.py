"""Check that a graph gives the same on another device as on the CPU, to a stated tolerance.

The tolerance is `DEVICE_FACTOR` times that of the export. There, both sides run on one processor, most of them with the
same kernels. A device's kernels sum in another order, fuse products with sums, and approximate exp, tanh and their like
by other polynomials; the errors of these add to those of the export. A graph that only selects values has a tolerance
of 0 here too.

Gradients are compared as a whole, by the root mean square of their difference relative to that of the gradient: at a
kink, such as a ReLU's at 0, a rounding decides which of two slopes a pixel gets, so a few pixels may differ much.
For the same reason their images keep away from 0 and 1, at which results are clipped.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from scoreguard.chain.devices import DEVICE_FACTOR, THE_CPU, Device
from scoreguard.chain.numerics import DEFAULT, Numerics, unrepeatable
from scoreguard.chain.torchscript import TorchEngine, load_graph, steady
from scoreguard.v1.errors import DeviceError, DeviceMemoryError, EngineError
from scoreguard.v1.manifest_pb2 import GraphFiles, HalfPrecision
from scoreguard_export.archive.parity import case_inputs, gradient_cases, not_finite, parity_cases
from scoreguard_export.errors import DeviceParityError
from scoreguard_export.exporters.engines import Engine, load_onnx, onnx_runs_on
from scoreguard_export.exporters.quiet import quiet
from scoreguard_export.exporters.signature import Case, describe, input_names
from scoreguard_export.graph_module import GraphModule

GRADIENT_TOLERANCE: Final = 1e-3
"""Largest root mean square of a gradient's difference, relative to that of the gradient."""
TORCHSCRIPT: Final = "torchscript"
ONNX: Final = "onnx"


@dataclass(frozen=True, kw_only=True)
class DeviceParity:
    """A graph that agrees with the CPU's results."""

    module: str
    engine: str
    """`torchscript` or `onnx`."""
    device: str
    cases: int
    largest_error: float
    """Largest absolute difference of an output value, over all cases."""
    tolerance: float
    gradient_error: float | None = None
    """Relative difference of the gradient; None if the graph has none."""
    unrepeatable: tuple[str, ...] = ()
    """Operations that ran without a deterministic kernel."""


def device_tolerance(module: GraphModule) -> float:
    """Return the largest difference allowed between a device and the CPU, in the units of the module's output."""
    return DEVICE_FACTOR * module.facts.parity_tolerance


def check_on_device(
    module: GraphModule, torchscript: bytes, onnx: bytes, device: Device, *, seed: int = 0
) -> list[DeviceParity]:
    """Compare a module's graphs on a device with its TorchScript graph on the CPU, at every parity case.

    Args:
        module: Its facts determine inputs and tolerance; it is not run.
        torchscript: Content of the TorchScript file.
        onnx: Content of the ONNX file; it runs only on GPUs, with onnxruntime-gpu.
        device: Not the CPU.
        seed: Seed of the images and of the random inputs.

    Returns:
        One record for each engine.

    Raises:
        DeviceParityError: a graph fails there, or gives another shape, a value that is not finite, or too large a
            difference.
        DeviceMemoryError: the device's memory does not suffice.
        DeviceError: ONNX Runtime cannot use the device.
    """
    host = script_engine(torchscript, THE_CPU)
    records = [_script_parity(module, host, torchscript, device, seed)]
    if onnx_runs_on(device):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "module.onnx"
            path.write_bytes(onnx)
            engine = _loaded(module, ONNX, device, lambda: load_onnx(path, input_names(module), device))
            records.append(_parity(module, host, engine, ONNX, device, seed))
    return records


def script_engine(torchscript: bytes, device: Device, numerics: Numerics = DEFAULT) -> Engine:
    """Load a TorchScript graph to a device as an engine whose inputs and outputs are on the CPU.

    Raises:
        RuntimeError: the file is not TorchScript, or the device refuses it.
    """
    name = "module.pt"
    with quiet():
        graph = load_graph(torchscript, device.torch)
    engine = TorchEngine(modules={name: graph}, device=device.torch, numerics=numerics)
    files = GraphFiles(torchscript=name, half=HalfPrecision())

    def run(inputs: tuple[Tensor, ...]) -> Tensor:
        there = {str(index): value.to(engine.device) for index, value in enumerate(inputs)}
        with steady():
            return engine.run(files, there).cpu()

    return run


def _script_parity(module: GraphModule, host: Engine, torchscript: bytes, device: Device, seed: int) -> DeviceParity:
    engine = _loaded(module, TORCHSCRIPT, device, lambda: script_engine(torchscript, device))
    with unrepeatable() as names:
        found = _parity(module, host, engine, TORCHSCRIPT, device, seed)
        gradient_error = _check_gradient(module, host, engine, device, seed)
    return DeviceParity(**{**vars(found), "gradient_error": gradient_error, "unrepeatable": tuple(names)})


def _loaded(module: GraphModule, name: str, device: Device, load: Callable[[], Engine]) -> Engine:
    try:
        return load()
    except DeviceError:
        raise
    except Exception as error:  # the engines' errors share no base
        raise DeviceParityError(describe(module), name, device.name, "load", str(error)) from error


def _parity(module: GraphModule, host: Engine, engine: Engine, name: str, device: Device, seed: int) -> DeviceParity:
    errors = list(_errors(module, host, engine, name, device, seed))
    return DeviceParity(
        module=describe(module),
        engine=name,
        device=device.name,
        cases=len(errors),
        largest_error=max(errors),
        tolerance=device_tolerance(module),
    )


def _errors(module: GraphModule, host: Engine, engine: Engine, name: str, device: Device, seed: int) -> Iterator[float]:
    for case in parity_cases(module):
        inputs = case_inputs(module, case, seed)
        with torch.no_grad():
            expected, given = host(inputs), _attempt(module, engine, name, device, case, inputs)
        if given.shape != expected.shape:
            reason = f"it gives {tuple(given.shape)}, the CPU {tuple(expected.shape)}"
        elif image := not_finite(given, case):
            reason = f"its output is not finite on {image}"
        elif (error := float((given.double() - expected.double()).abs().max())) > device_tolerance(module):
            reason = f"by {error:.3g}, allowed {device_tolerance(module):.3g}"
        else:
            yield error
            continue
        raise DeviceParityError(describe(module), name, device.name, str(case), reason)


def _attempt(
    module: GraphModule, engine: Engine, name: str, device: Device, case: Case, inputs: tuple[Tensor, ...]
) -> Tensor:
    try:
        return engine(inputs)
    except DeviceMemoryError:
        raise
    except Exception as error:  # the engines' errors share no base
        reason = error.problem if isinstance(error, EngineError) else str(error)
        raise DeviceParityError(describe(module), name, device.name, str(case), f"it fails to run: {reason}") from error


def _check_gradient(module: GraphModule, host: Engine, engine: Engine, device: Device, seed: int) -> float | None:
    """Return the relative difference of the gradient on photographs; None if it is not the graph's."""
    for case in gradient_cases(module)[:1]:
        expected = _gradient(module, host, THE_CPU, case, seed)
        given = _gradient(module, engine, device, case, seed)
        error = float((given - expected).norm() / expected.norm().clamp_min(1e-30))
        if not error <= GRADIENT_TOLERANCE:
            reason = f"the gradient differs by {error:.3g} of its size, allowed {GRADIENT_TOLERANCE:.3g}"
            raise DeviceParityError(describe(module), TORCHSCRIPT, device.name, str(case), reason)
        return error
    return None


def _gradient(module: GraphModule, engine: Engine, device: Device, case: Case, seed: int) -> Tensor:
    """Compute the gradient of a random weighting of the output by everything of the images' shape, as one vector."""
    image, *others = case_inputs(module, case, seed)
    inputs = (0.1 + 0.8 * image, *others)
    leaves = [value.requires_grad_() for value in inputs if value.dim() == image.dim()]
    try:
        with steady(), DEFAULT.applied(device.torch):
            output = _attempt(module, engine, TORCHSCRIPT, device, case, inputs)
            if not output.requires_grad:
                return torch.zeros(sum(leaf.numel() for leaf in leaves))
            weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(seed))
            slopes = torch.autograd.grad((output * weights).sum(), leaves, allow_unused=True, materialize_grads=True)
    except torch.OutOfMemoryError as error:
        raise DeviceMemoryError(device.name, f"the gradient of {describe(module)}", tuple(image.shape)) from error
    return torch.cat([slope.flatten() for slope in slopes])
