"""Proves that an exported graph is the module: both are run at sizes, batches and parameters unlike the export's.

The export is where pictures silently go wrong: a frozen size, a pool or a resize that is right only at the captured
size. So every case here has another size than `export_case`: the smallest allowed, odd, not square, in batches of 1
and 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scoreguard.v1 import manifest_pb2
from scoreguard_export.defences.base import Defence, Differentiability, Parameter
from scoreguard_export.errors import ParityError
from scoreguard_export.exporters.engines import Engine, load_onnx, load_torchscript
from scoreguard_export.exporters.signature import Case, Exportable, describe, input_names, make_inputs

_GRADIENT_TOLERANCE = 1e-4
"""Largest difference of a gradient, relative to its largest value."""


def check_parity(module: Exportable, torchscript: Path, onnx: Path, *, seed: int = 0) -> list[manifest_pb2.ParityCase]:
    """Compare both exported graphs with the eager module, and the TorchScript gradient with the eager one.

    The error of a case is the largest absolute difference of any output value; the tolerance is the facts'.

    Args:
        module: In evaluation mode; on the CPU.
        torchscript: File written by `export_torchscript`.
        onnx: File written by `export_onnx`.
        seed: Of the pictures and of the random inputs.

    Returns:
        One record for each engine and case.

    Raises:
        ParityError: a graph fails to load or to run, or gives another shape, a value that is not finite, or too large
            a difference.
    """
    script = _loaded(module, "torchscript", lambda: load_torchscript(torchscript))
    engines = {"torchscript": script, "onnx": _loaded(module, "onnx", lambda: load_onnx(onnx, input_names(module)))}
    records = [
        _compare(module, name, engine, case, seed) for case in parity_cases(module) for name, engine in engines.items()
    ]
    _check_gradient(module, script, seed)
    return records


def parity_cases(module: Exportable) -> list[Case]:
    """List the cases: every size with the defaults, and each other setting at two of the sizes."""
    least = module.facts.minimum_size
    sizes = [
        (1, least, least),
        (3, (least + 1) | 1, 2 * least + 5),
        (1, least + 101, least + 58),
        (3, least + 37, least + 16),
        (1, least + 230, least + 347),
    ]
    cases = [Case(batch=n, height=height, width=width) for n, height, width in sizes]
    for index, setting in enumerate(_settings(module)):
        for n, height, width in (sizes[index % 4], sizes[(index + 1) % 4]):
            cases.append(Case(batch=n, height=height, width=width, parameters=setting))
    return cases


def _settings(module: Exportable) -> Iterator[Mapping[str, float]]:
    """Move one graph parameter at a time to its minimum, its maximum and a value between."""
    if not isinstance(module, Defence):
        return
    defaults = {parameter.name: parameter.default for parameter in module.facts.graph_parameters}
    for parameter in module.facts.graph_parameters:
        for value in (parameter.minimum, parameter.maximum, _between(parameter)):
            yield {**defaults, parameter.name: value}


def _between(parameter: Parameter) -> float:
    value = parameter.minimum + 0.37 * (parameter.maximum - parameter.minimum)
    return float(round(value)) if parameter.integer else value


def synthetic_pictures(case: Case, seed: int) -> Tensor:
    """Draw pictures (N, 3, H, W) like photographs: 1/f texture on a smooth ground, an edge, and clipped highlights."""
    generator = np.random.default_rng(seed)
    shape = (case.batch, 3, case.height, case.width)
    rows, columns = np.fft.fftfreq(case.height)[:, None], np.fft.rfftfreq(case.width)[None, :]
    falloff = 1.0 / np.maximum(np.hypot(rows, columns), 1.0 / max(case.height, case.width))
    texture = np.fft.irfft2(np.fft.rfft2(generator.standard_normal(shape)) * falloff, s=shape[2:])
    texture /= np.abs(texture).max(axis=(2, 3), keepdims=True) + 1e-9
    ramp = np.linspace(0.0, 0.8, case.width)[None, None, None, :]
    edge = 0.3 * (np.arange(case.height) > case.height * 0.6)[None, None, :, None]
    pictures = np.clip(ramp + edge + 0.6 * texture, 0.0, 1.0)
    # Every second picture as 8-bit files hold them.
    pictures[::2] = np.round(pictures[::2] * 255.0) / 255.0
    return torch.from_numpy(pictures.astype(np.float32))


def _loaded(module: Exportable, name: str, load: Callable[[], Engine]) -> Engine:
    try:
        return load()
    except Exception as error:
        raise ParityError(describe(module), name, "load", str(error)) from error


def _attempt(module: Exportable, name: str, engine: Engine, case: Case, inputs: tuple[Tensor, ...]) -> Tensor:
    try:
        return engine(inputs)
    except Exception as error:
        raise ParityError(describe(module), name, str(case), f"it fails to run: {error}") from error


def _compare(module: Exportable, name: str, engine: Engine, case: Case, seed: int) -> manifest_pb2.ParityCase:
    inputs = make_inputs(module, case, synthetic_pictures(case, seed), seed)
    with torch.no_grad():
        expected = module(*inputs)
        given = _attempt(module, name, engine, case, inputs)
    error = _difference(module, name, case, expected, given)
    tolerance = module.facts.parity_tolerance
    if error > tolerance:
        raise ParityError(describe(module), name, str(case), f"by {error:.3g}, allowed {tolerance:.3g}")
    return manifest_pb2.ParityCase(
        engine=name,
        batch=case.batch,
        height=case.height,
        width=case.width,
        parameters=dict(case.parameters),
        max_abs_error=error,
        tolerance=tolerance,
    )


def _difference(module: Exportable, name: str, case: Case, expected: Tensor, given: Tensor) -> float:
    if given.shape != expected.shape or given.dtype != expected.dtype:
        found = f"it gives {given.dtype} {tuple(given.shape)}, the module {expected.dtype} {tuple(expected.shape)}"
        raise ParityError(describe(module), name, str(case), found)
    if not bool(torch.isfinite(given).all()):
        raise ParityError(describe(module), name, str(case), "it gives values that are not finite")
    return float((given.double() - expected.double()).abs().max())


def _check_gradient(module: Exportable, engine: Engine, seed: int) -> None:
    if isinstance(module, Defence) and module.facts.differentiability is Differentiability.BPDA_IDENTITY:
        return
    case = parity_cases(module)[3]
    expected, given = (_gradient(run, module, case, seed) for run in (lambda inputs: module(*inputs), engine))
    error = float((given - expected).abs().max() / expected.abs().max().clamp_min(1e-30))
    if not error <= _GRADIENT_TOLERANCE:
        found = f"the gradient differs by {error:.3g} of its largest value, allowed {_GRADIENT_TOLERANCE:.3g}"
        raise ParityError(describe(module), "torchscript", str(case), found)


def _gradient(engine: Engine, module: Exportable, case: Case, seed: int) -> Tensor:
    """With respect to the pictures and to every other input of their shape, flat."""
    inputs = make_inputs(module, case, synthetic_pictures(case, seed), seed)
    pictures = [value.requires_grad_() for value in inputs if value.dim() == 4]
    output = _attempt(module, "torchscript", engine, case, inputs)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(seed))
    gradients = torch.autograd.grad((output * weights).sum(), pictures, allow_unused=True, materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in gradients])
