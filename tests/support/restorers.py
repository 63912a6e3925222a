"""What the tests of the learned defences share: generated weights, noise on photographs, engines side by side."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from photographs import to_batch
from PIL import Image
from torch import Tensor

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.defences.learned import LearnedDefence
from scoreguard_export.exporters.engines import load_onnx, load_torchscript
from scoreguard_export.exporters.onnx_graph import export_onnx
from scoreguard_export.exporters.signature import Case, input_names, make_inputs
from scoreguard_export.exporters.torchscript import export_torchscript

Kind = TypeVar("Kind", bound=LearnedDefence)
Array = NDArray[np.float64]


def generated(kind: type[LearnedDefence], folder: Path, seed: int = 0) -> dict[str, Path]:
    """Random weights with the official names and shapes, one file for each that the defence knows."""
    generator = torch.Generator().manual_seed(seed)
    files = {}
    for name in kind.sources:
        state = kind().network.state_dict()
        weights = {key: _drawn(value, generator) for key, value in state.items()}
        files[name] = folder / f"{name}.pt"
        torch.save(weights, files[name])
    return files


def _drawn(like: Tensor, generator: torch.Generator) -> Tensor:
    """Positive scales, small biases and kernels that keep the strength of what passes."""
    if like.dim() == 4 and like.shape[0] > 1:
        return torch.randn(like.shape, generator=generator) * math.sqrt(2.0 / like[0].numel())
    drawn = torch.rand(like.shape, generator=generator)
    return 0.1 * drawn if like.dim() == 1 else 0.7 + 0.6 * drawn


def untrained(kind: type[Kind], folder: Path, **structural: float) -> Kind:
    """A defence with generated weights."""
    return kind.from_weights(generated(kind, folder), **structural)


def convolved(features: Array, weight: Tensor, bias: Tensor | None = None) -> Array:
    """(N, C, H, W) by 3 × 3 kernels with zeros around, in double precision by numpy alone."""
    padded = np.pad(features, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    result: Array = np.einsum("nchwij,ocij->nohw", windows, weight.double().numpy(), optimize=True)
    return result if bias is None else result + bias.double().numpy()[:, None, None]


def kodak(data: Path) -> list[Tensor]:
    """The first five Kodak photographs, (1, 3, H, W) each; the fourth stands upright."""
    paths = sorted((data / "images/kodak24").glob("*.png"))[:5]
    return [to_batch(np.asarray(Image.open(path).convert("RGB"), dtype=np.uint8)) for path in paths]


def kodak_centres(data: Path, side: int) -> Tensor:
    """The centres of those photographs, (5, 3, side, side)."""
    centres = []
    for image in kodak(data):
        top, left = (image.shape[2] - side) // 2, (image.shape[3] - side) // 2
        centres.append(image[:, :, top : top + side, left : left + side])
    return torch.cat(centres)


def noisy(images: Tensor, levels: float) -> Tensor:
    """Add white noise of a standard deviation in levels of 255, not clipped."""
    noise: Tensor = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return images + noise * levels / 255.0


def psnr(first: Tensor, second: Tensor) -> float:
    """Mean over images of the peak signal-to-noise ratio, in decibels."""
    errors = (first - second).square().mean(dim=(1, 2, 3))
    return float((-10.0 * torch.log10(errors)).mean())


def looked_at(defence: LearnedDefence, size: int, row: int, column: int, *inputs: Tensor) -> tuple[int, int]:
    """How far the output at a pixel looks: the largest distance of a row and of a column that has a gradient.

    The weights are replaced by small positive ones, on a dark image of size × size: nothing is cut off or clamped.
    """
    defence = copy.deepcopy(defence).double()
    for weight in defence.network.parameters():
        weight.data.fill_(0.0 if weight.dim() == 1 else 0.5 / max(1, weight[0].numel()))
    given = torch.full((1, 3, size, size), 1e-3, dtype=torch.float64, requires_grad=True)
    output = defence(given, *inputs)[:, :, row, column]
    (gradient,) = torch.autograd.grad(output.sum(), given)
    rows, columns = (gradient.abs().sum(dim=1)[0] > 0).nonzero(as_tuple=True)
    return int((rows - row).abs().max()), int((columns - column).abs().max())


def assert_both_exports_are_it(
    defence: LearnedDefence, folder: Path, sizes: Sequence[tuple[int, int, int]], **parameters: float
) -> None:
    """TorchScript and ONNX give the defence's images at (batch, height, width), and TorchScript its gradient."""
    script_path, graph_path = folder / "defence.pt", folder / "defence.onnx"
    export_torchscript(defence, script_path)
    export_onnx(defence, graph_path)
    script, graph = load_torchscript(script_path), load_onnx(graph_path, input_names(defence))
    for batch, height, width in sizes:
        case = Case(batch=batch, height=height, width=width, parameters=parameters)
        image = photographs(batch, height, width, 3)
        inputs = make_inputs(defence, case, image.requires_grad_())
        expected = defence(*inputs)
        for engine in (script, graph):
            given = engine(inputs)
            assert given.shape == expected.shape
            assert float((given - expected).detach().abs().max()) <= defence.facts.parity_tolerance
        gradients = [torch.autograd.grad(output.sum(), image)[0] for output in (expected, script(inputs))]
        assert float((gradients[0] - gradients[1]).abs().max()) <= 1e-4 * float(gradients[0].abs().max())
