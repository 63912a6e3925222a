"""Check that an exported graph matches its module: run both at sizes, batches and parameters unlike the export's.

An export can go wrong silently: a frozen size, a pool or a resize that is right only at the captured size, a lost
constant. So every case here has another size than `export_case`: the smallest allowed, odd, not square, in batches of 1
and 3. Every setting of the parameters runs on flat, striped and otherwise plain images as well as textured ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from scoreguard.chain.onnx_devices import check_one_onnxruntime
from scoreguard.v1 import manifest_pb2
from scoreguard_export.archive.parity_images import PATTERNS, patterns, photographs
from scoreguard_export.clip_graphs import PoolGraph
from scoreguard_export.defences.base import Differentiability, Parameter
from scoreguard_export.errors import ModuleError, ParityError
from scoreguard_export.exporters.engines import Engine, load_onnx, load_torchscript
from scoreguard_export.exporters.signature import (
    Case,
    Content,
    clip_case,
    describe,
    features,
    input_names,
    make_inputs,
)
from scoreguard_export.graph_module import GraphModule, Reads

_GRADIENT_TOLERANCE: Final = 1e-4
"""Largest difference of a gradient, relative to its largest value."""
EAGER: Final = "eager"
"""Engine name of the module itself."""
_FRAMES: Final = (1, 2, 11, 12, 13, 40, 250)
"""Lengths of clips: below, at and above a window of temporal pooling, and long."""
LOADING: Final = "load"
"""Case name for an error before the first case."""


def check_parity(module: GraphModule, torchscript: Path, onnx: Path, *, seed: int = 0) -> list[manifest_pb2.ParityCase]:
    """Compare both exported graphs with the eager module, and the TorchScript gradient with the eager one.

    The error of a case is the largest absolute difference of any output value; the tolerance is the facts'.

    Args:
        module: In evaluation mode; on the CPU.
        torchscript: File written by `export_torchscript`.
        onnx: File written by `export_onnx`.
        seed: Seed of the images and of the random inputs.

    Returns:
        One record for each engine and case.

    Raises:
        ModuleError: the module itself fails, or gives a value or a gradient that is not finite.
        ParityError: a graph fails to load or to run, or gives another shape, a value that is not finite, or too large
            a difference.
        EngineError: two distributions of ONNX Runtime are installed over each other.
    """
    check_one_onnxruntime()
    script = _loaded(module, "torchscript", lambda: load_torchscript(torchscript))
    engines = {"torchscript": script, "onnx": _loaded(module, "onnx", lambda: load_onnx(onnx, input_names(module)))}
    records = [record for case in parity_cases(module) for record in _compare(module, engines, case, seed)]
    for case in gradient_cases(module):
        _check_gradient(module, script, case, seed)
    return records


def parity_cases(module: GraphModule) -> list[Case]:
    """List the cases: every size with the defaults, each other setting at two of the sizes, and all with patterns.

    Of a graph that reads features: clips of several lengths.
    """
    if isinstance(module, PoolGraph):
        return [clip_case(frames) for frames in _FRAMES]
    least = module.facts.minimum_size
    sizes = [
        (1, least, least),
        (3, (least + 1) | 1, 2 * least + 5),
        (1, least + 101, least + 58),
        (3, least + 37, least + 16),
        (1, least + 230, least + 347),
    ]
    cases = [Case(batch=n, height=height, width=width) for n, height, width in sizes]
    for index, setting in enumerate(settings(module)):
        for n, height, width in (sizes[index % 4], sizes[(index + 1) % 4]):
            cases.append(Case(batch=n, height=height, width=width, parameters=setting))
    smallest = Case(batch=len(PATTERNS), height=least, width=least, content=Content.PATTERNS)
    return [*cases, smallest, *_pattern_cases(module)]


def _pattern_cases(module: GraphModule) -> list[Case]:
    """List pattern cases of every setting at one size; for a metric, room for several of its smallest images."""
    least = module.facts.minimum_size
    height, width = module.pattern_size(least)
    return [
        Case(batch=len(PATTERNS), height=height, width=width, parameters=setting, content=Content.PATTERNS)
        for setting in ({}, *settings(module))
    ]


def gradient_cases(module: GraphModule) -> list[Case]:
    """List the cases that gradients are compared at; none if the gradient is not the graph's (BPDA).

    Photographs with the defaults, and patterns of every setting.
    """
    # The gradient of a clip is not asked for: attacks act on its frames, through the metric's own graph.
    if module.reads is Reads.FEATURES or module.facts.differentiability is Differentiability.BPDA_IDENTITY:
        return []
    return [parity_cases(module)[3], *_pattern_cases(module)]


def settings(module: GraphModule) -> Iterator[Mapping[str, float]]:
    """Move one graph parameter at a time to its minimum, its maximum and a value between; a metric has none."""
    defaults = {parameter.name: parameter.default for parameter in module.facts.graph_parameters}
    for parameter in module.facts.graph_parameters:
        for value in (parameter.minimum, parameter.maximum, _between(parameter)):
            yield {**defaults, parameter.name: value}


def _between(parameter: Parameter) -> float:
    value = parameter.minimum + 0.37 * (parameter.maximum - parameter.minimum)
    return float(round(value)) if parameter.integer else value


def case_inputs(module: GraphModule, case: Case, seed: int) -> tuple[Tensor, ...]:
    """Make the inputs of a case in the order of the graph: images, (N, 3, H, W) in [0, 1], or features come first."""
    if isinstance(module, PoolGraph):
        return (features(module, case.frames, seed),)
    if case.content is Content.PATTERNS:
        images = patterns(case.height, case.width, seed)
    else:
        images = photographs(case.batch, case.height, case.width, seed)
    return make_inputs(module, case, images, seed)


def _loaded(module: GraphModule, name: str, load: Callable[[], Engine]) -> Engine:
    try:
        return load()
    except Exception as error:
        raise ParityError(describe(module), name, LOADING, str(error)) from error


def _attempt(module: GraphModule, name: str, engine: Engine, case: Case, inputs: tuple[Tensor, ...]) -> Tensor:
    try:
        output: object = engine(inputs)
        if not isinstance(output, Tensor):
            raise TypeError(f"it gives {type(output).__name__}, and no tensor")
        return output
    except Exception as error:
        if name == EAGER:
            raise ModuleError(describe(module), str(case), f"the module fails to run: {error}") from error
        raise ParityError(describe(module), name, str(case), f"it fails to run: {error}") from error


def eager(module: GraphModule) -> Engine:
    """Wrap the module itself as an engine."""
    return lambda inputs: module(*inputs)


def _compare(
    module: GraphModule, engines: Mapping[str, Engine], case: Case, seed: int
) -> Iterator[manifest_pb2.ParityCase]:
    inputs = case_inputs(module, case, seed)
    with torch.no_grad():
        expected = _attempt(module, EAGER, eager(module), case, inputs)
        if image := not_finite(expected, case):
            raise ModuleError(describe(module), str(case), f"the module's {_output(module)} is not finite on {image}")
        for name, engine in engines.items():
            error = _difference(module, name, case, expected, _attempt(module, name, engine, case, inputs))
            yield _record(module, name, case, error)


def _record(module: GraphModule, name: str, case: Case, error: float) -> manifest_pb2.ParityCase:
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
        content="" if case.frames else case.content,
        frames=case.frames,
    )


def _difference(module: GraphModule, name: str, case: Case, expected: Tensor, given: Tensor) -> float:
    if given.shape != expected.shape or given.dtype != expected.dtype:
        found = f"it gives {given.dtype} {tuple(given.shape)}, the module {expected.dtype} {tuple(expected.shape)}"
        raise ParityError(describe(module), name, str(case), found)
    if image := not_finite(given, case):
        raise ParityError(describe(module), name, str(case), f"its {_output(module)} is not finite on {image}")
    return float((given.double() - expected.double()).abs().max())


def _output(module: GraphModule) -> str:
    """Describe a module's output in words."""
    return {"score": "score", "purified": "purified image", "features": "features"}[module.output_name]


def not_finite(values: Tensor, case: Case) -> str:
    """Name the first image of a case whose values (N, …) are not all finite; empty if there is none."""
    wrong = ~values.isfinite().flatten(1).all(dim=1) if values.dim() > 1 else ~values.isfinite()
    if not bool(wrong.any()):
        return ""
    if case.frames:
        return "a clip"
    index = int(wrong.nonzero()[0])
    return f"the {list(PATTERNS)[index]} image" if case.content is Content.PATTERNS else "a photographic image"


def _check_gradient(module: GraphModule, engine: Engine, case: Case, seed: int) -> None:
    expected = gradient(eager(module), module, EAGER, case, seed)
    if image := not_finite(expected, case):
        raise ModuleError(describe(module), str(case), f"the module's gradient is not finite on {image}")
    given = gradient(engine, module, "torchscript", case, seed)
    error = float((given - expected).abs().max() / expected.abs().max().clamp_min(1e-30))
    if not error <= _GRADIENT_TOLERANCE:
        found = f"the gradient differs by {error:.3g} of its largest value, allowed {_GRADIENT_TOLERANCE:.3g}"
        raise ParityError(describe(module), "torchscript", str(case), found)


def gradient(engine: Engine, module: GraphModule, name: str, case: Case, seed: int) -> Tensor:
    """Compute the gradient of a random weighting of the output with respect to every input of the images' shape.

    Args:
        engine: runs the graph; gradients pass through it.
        module: the module whose inputs it takes.
        name: name of the engine, for errors.
        case: sizes and parameters.
        seed: seed of the images, the random inputs and the weighting.

    Returns:
        (N, values); zeros where the output does not depend on the images.

    Raises:
        ModuleError: the module fails to run.
        ParityError: the graph fails to run.
    """
    inputs = case_inputs(module, case, seed)
    weighting = torch.Generator().manual_seed(seed)
    slopes = []
    for part in _parts(inputs, case):
        images = [value.requires_grad_() for value in part if value.dim() == 4]
        output = _attempt(module, name, engine, case, part)
        gradients: Sequence[Tensor] = [torch.zeros_like(image) for image in images]
        if output.requires_grad:
            total = (output * torch.randn(output.shape, generator=weighting)).sum()
            gradients = torch.autograd.grad(total, images, allow_unused=True, materialize_grads=True)
        slopes.append(torch.cat([slope.flatten(1) for slope in gradients], dim=1))
    return torch.cat(slopes)


def _parts(inputs: tuple[Tensor, ...], case: Case) -> Iterator[tuple[Tensor, ...]]:
    """Yield photographs together, patterns one by one: for its gradient, a large network keeps every layer of each."""
    if case.content is Content.PHOTOGRAPHS:
        yield inputs
        return
    for index in range(case.batch):
        # Parameters are shared by all images; random inputs differ per image.
        yield tuple(value[index : index + 1] if value.dim() else value for value in inputs)
