"""Every metric and defence on a device other than the CPU: no tensor is left behind, and the results are the same."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from restorers import generated
from second_device import second_device
from thin_metrics import THIN, weights_of
from thin_towers import THIN_TOWERS, tower_weights
from torch import Tensor
from video_metrics import THIN_VIDEO, video_weights

from scoreguard.chain.devices import DEVICE_FACTOR, find_device
from scoreguard.chain.numerics import DEFAULT
from scoreguard.chain.torchscript import load_graph, steady
from scoreguard_export.archive.device_parity import GRADIENT_TOLERANCE, device_tolerance
from scoreguard_export.archive.parity import case_inputs
from scoreguard_export.defences.catalogue import CATALOGUE as DEFENCES
from scoreguard_export.defences.diffpure import DiffPureEdge
from scoreguard_export.defences.diffpure_finish import EdgeFinish, UnsharpFinish
from scoreguard_export.defences.learned import LearnedDefence
from scoreguard_export.exporters.signature import Case, describe
from scoreguard_export.exporters.torchscript import export_torchscript
from scoreguard_export.graph_module import Differentiability, GraphModule
from scoreguard_export.metrics.catalogue import CATALOGUE as METRICS

QUICK = {"nlm": {"search": 3.0}, "tv": {"iterations": 3.0}}
"""Fewer rounds of what repeats itself: the second device compiles each of them."""
LARGE = ("fbcnn", "mprnet")
"""Networks of several seconds each."""
SLOW = [
    ("median", {"kernel": 5.0}),
    ("median", {"kernel": 7.0}),
    ("nlm", {"patch": 5.0}),
    ("nlm", {"patch": 7.0}),
    *((name, {}) for name in LARGE),
    *((name, {"variant": ""}) for name in ("linearity", "hyper-iqa", "maniqa", "spaq", *THIN_VIDEO)),
    *(("maniqa", {"variant": "as-benchmark"}), ("nima-inceptionresnetv2", {"variant": ""})),
]
"""Those of ten seconds to two minutes; a smaller kernel of the same code is compared always."""
NAMES = [
    *((name, {"variant": variant}) for name, kind in METRICS.items() for variant in ("", *kind.facts.variants)),
    *(
        (name, structural)
        for name, kind in DEFENCES.items()
        for structural in (kind.facts.variants() if not kind.sources else [{}])
        if not name.startswith("diffpure")
    ),
]
"""Every metric and its variants, every classical defence and its structural variants, every learned one: their variants
differ in weights alone. The diffusions consist of the denoiser and two parts that have no name."""


def metric(name: str, variant: str, folder: Path) -> GraphModule:
    """A metric with its shipped weights, or with drawn ones; one with a large backbone on a small one."""
    torch.manual_seed(4)
    if name in THIN_VIDEO:
        return THIN_VIDEO[name].from_weights(video_weights(name, folder))
    if name in THIN_TOWERS:
        return THIN_TOWERS[name].from_weights(tower_weights(THIN_TOWERS[name], folder), variant)
    if name in THIN:
        return THIN[name].from_weights(weights_of(THIN[name], folder), variant)
    kind, files = METRICS[name], {}
    for source in (source for source, facts in kind.sources.items() if facts.shipped is None):
        files[source] = folder / f"{source}.pt"
        torch.save(kind().state_dict(), files[source])
    return kind.from_weights(files, variant) if variant else kind.from_weights(files)


def defence(name: str, structural: dict[str, float], folder: Path) -> GraphModule:
    """A defence with its shipped weights, or with generated ones."""
    kind = DEFENCES[name]
    if name == "mprnet":  # with generated weights it turns a change of 1e-7 into black and white
        torch.manual_seed(4)
        return kind(**structural).eval().requires_grad_(False)
    missing = any(source.shipped is None for source in kind.sources.values())
    files = generated(kind, folder) if missing and issubclass(kind, LearnedDefence) else {}
    return kind.from_weights(files, **structural)


def assert_same_there(module: GraphModule, folder: Path, device: torch.device) -> None:
    """TorchScript graph and module give on the device what the graph gives on the CPU, and its gradient."""
    least = module.facts.minimum_size
    case = Case(batch=2, height=least + 5, width=least + 10, parameters=QUICK.get(module.facts.name, {}))
    inputs = case_inputs(module, case, 0)
    path = folder / "module.pt"
    export_torchscript(module.eval(), path)
    expected, slope = outcome(load_graph(path), module, inputs)
    for there in (load_graph(path, device), copy.deepcopy(module).to(device)):
        with DEFAULT.applied(device):
            found, gradient = outcome(there, module, tuple(value.to(device) for value in inputs))
        assert found.device == gradient.device == device
        assert float((found.cpu() - expected).abs().max()) <= device_tolerance(module)
        assert float((gradient.cpu() - slope).norm()) <= GRADIENT_TOLERANCE * float(slope.norm())


def outcome(engine: Callable[..., Any], module: GraphModule, inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """The output, and the gradient of its weighted sum by all images; zeros where the gradient is not the graph's."""
    image, *others = inputs
    given = (0.1 + 0.8 * image, *others)
    leaves = [value.requires_grad_() for value in given if value.dim() == image.dim()]
    with steady():
        output: Tensor = engine(*given)
        if module.facts.differentiability is Differentiability.BPDA_IDENTITY:
            return output.detach(), torch.zeros_like(image)
        weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(0)).to(output.device)
        slopes = torch.autograd.grad((output * weights).sum(), leaves, allow_unused=True, materialize_grads=True)
    return output.detach(), torch.cat([slope.flatten() for slope in slopes])


def built(name: str, choice: dict[str, Any], folder: Path) -> GraphModule:
    """A metric or a defence."""
    return metric(name, **choice, folder=folder) if name in METRICS else defence(name, choice, folder)


@pytest.mark.parametrize(
    ("name", "choice"),
    [
        pytest.param(name, choice, marks=[pytest.mark.slow] if (name, choice) in SLOW else [], id=f"{name} {choice}")
        for name, choice in NAMES
    ],
)
def test_every_graph_is_the_same_on_another_device(name: str, choice: dict[str, Any], tmp_path: Path) -> None:
    """A GPU refuses tensors of the CPU just as this device does."""
    assert_same_there(built(name, choice, tmp_path), tmp_path, second_device())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
@pytest.mark.parametrize(("name", "choice"), NAMES)
def test_every_graph_is_the_same_on_a_gpu(name: str, choice: dict[str, Any], tmp_path: Path) -> None:
    """To the stated tolerance: its kernels sum in another order."""
    assert_same_there(built(name, choice, tmp_path), tmp_path, find_device("cuda").torch)


@pytest.mark.parametrize("module", [EdgeFinish(), UnsharpFinish()], ids=describe)
def test_the_parts_of_diffusions_too(module: GraphModule, tmp_path: Path) -> None:
    """They are graphs of the archive like the others."""
    assert_same_there(module, tmp_path, second_device())


def test_a_diffusion_draws_its_noise_where_its_image_is() -> None:
    """The noise follows from the seeds alone, on any device."""
    purifier, device = DiffPureEdge.from_weights({}), second_device()
    image, *parameters = case_inputs(purifier, Case(batch=1, height=9, width=12, parameters={"t": 2.0}), 0)
    with torch.no_grad():
        expected = purifier(image, *parameters)
        found = copy.deepcopy(purifier).to(device)(image.to(device), *(value.to(device) for value in parameters))
    assert found.device == device
    assert float((found.cpu() - expected).abs().max()) <= device_tolerance(purifier)


def test_the_tolerance_of_a_device_is_a_multiple_of_the_exports() -> None:
    """What only selects values must be equal on every device."""
    assert device_tolerance(METRICS["lite"]()) == DEVICE_FACTOR * METRICS["lite"].facts.parity_tolerance
    assert device_tolerance(DEFENCES["flip"]()) == 0.0
