"""The tv defence against scikit-image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import crop, to_batch
from skimage.restoration import denoise_tv_chambolle

from scoreguard_export.archive.parity import check_parity
from scoreguard_export.defences.tv import TotalVariation
from scoreguard_export.errors import ParameterError
from scoreguard_export.exporters.engines import load_onnx, load_torchscript
from scoreguard_export.exporters.onnx_graph import export_onnx
from scoreguard_export.exporters.signature import input_names
from scoreguard_export.exporters.torchscript import export_torchscript


def skimage(batch: torch.Tensor, weight: float, iterations: int) -> np.ndarray:
    """Denoise by scikit-image with as many steps, and clip."""
    images = batch.permute(0, 2, 3, 1).double().numpy()
    options = {"weight": weight, "eps": 0.0, "max_num_iter": iterations + 1, "channel_axis": 2}
    results = [denoise_tv_chambolle(image, **options) for image in images]  # type: ignore[no-untyped-call]
    clipped: np.ndarray = np.clip(np.stack(results), 0.0, 1.0)
    return clipped


def denoised(batch: torch.Tensor, weight: float, iterations: float) -> torch.Tensor:
    """Denoise by the defence."""
    output: torch.Tensor = TotalVariation()(batch, torch.tensor(weight), torch.tensor(iterations))
    return output


def variation(batch: torch.Tensor) -> float:
    """Total variation, isotropic."""
    steep, slant = batch.diff(dim=2)[:, :, :, :-1], batch.diff(dim=3)[:, :, :-1]
    return float(torch.sqrt(steep.square() + slant.square()).sum())


@settings(max_examples=25, deadline=None)
@given(
    weight=st.floats(0.005, 1.0),
    iterations=st.integers(1, 60),
    height=st.integers(2, 50),
    width=st.integers(2, 50),
    photo=st.integers(0, 3),
)
def test_it_is_scikit_images_chambolle(weight: float, iterations: int, height: int, width: int, photo: int) -> None:
    """Every weight, number of steps and size agrees with denoise_tv_chambolle in double precision."""
    batch = to_batch(crop(photo, 11, 17, height, width), crop(photo + 1, 3, 5, height, width))
    output = denoised(batch, weight, float(iterations)).permute(0, 2, 3, 1).numpy()
    assert np.abs(output - skimage(batch, weight, iterations)).max() < 1e-5


def test_it_removes_noise_from_a_photograph() -> None:
    """Less variation, and nearer to the clean image than the noisy one was."""
    clean = to_batch(crop(0, 40, 60, 120, 151))
    noisy = (clean + 0.08 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(5))).clamp(0.0, 1.0)
    output = denoised(noisy, 0.1, 50.0)
    assert variation(output) < 0.5 * variation(noisy)
    assert float((output - clean).square().mean()) < 0.5 * float((noisy - clean).square().mean())


@settings(max_examples=25, deadline=None)
@given(weight=st.floats(0.001, 2.0), iterations=st.integers(1, 40), seed=st.integers(0, 99))
def test_it_keeps_the_mean_and_never_roughens(weight: float, iterations: int, seed: int) -> None:
    """A divergence sums to zero; any number of steps lowers the variation."""
    image = 0.3 + 0.4 * torch.rand(2, 3, 13, 18, generator=torch.Generator().manual_seed(seed))
    output = denoised(image, weight, float(iterations))
    assert output.shape == image.shape
    assert float(output.mean()) == pytest.approx(float(image.mean()), abs=1e-5)
    assert variation(output) < variation(image)


def test_many_steps_reach_the_minimum() -> None:
    """The energy of the model falls with the steps; the last 150 of 200 hardly lower it."""
    image = to_batch(crop(1, 40, 60, 32, 45))

    def energy(candidate: torch.Tensor) -> float:
        padded = torch.nn.functional.pad(candidate, [0, 1, 0, 1], mode="replicate")
        return float((candidate - image).square().sum()) / 2 + 0.05 * variation(padded)

    values = [energy(denoised(image, 0.05, steps)) for steps in (1.0, 10.0, 50.0, 200.0)]
    assert values == sorted(values, reverse=True)
    assert values[2] - values[3] < 0.05 * (values[0] - values[3])


@pytest.mark.parametrize("iterations", [1.0, 7.0])
def test_its_gradient_is_the_derivative(iterations: float) -> None:
    """Autograd agrees with finite differences in double precision, where nothing is clipped."""
    image = (torch.rand(1, 3, 6, 7, generator=torch.Generator().manual_seed(1)).double() * 0.4 + 0.3).requires_grad_()
    scalars = torch.tensor(0.1), torch.tensor(iterations)
    defence = TotalVariation()
    assert torch.autograd.gradcheck(lambda x: defence(x, *scalars), (image,), fast_mode=True)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_flat_ground_has_a_gradient(level: float) -> None:
    """Where the slope is zero its root has no derivative; none of that reaches the result."""
    image = torch.full((1, 3, 12, 15), level, requires_grad=True)
    output = denoised(image, 0.1, 20.0)
    (gradient,) = torch.autograd.grad(output.sum(), image)
    assert torch.equal(output.detach(), image.detach())
    assert float(gradient.sum()) == pytest.approx(3 * 12 * 15, rel=1e-4)


def test_nothing_is_structural() -> None:
    """One graph serves every weight and number of steps, so the constructor takes neither."""
    with pytest.raises(ParameterError, match="iterations=50: choose from no structural parameter"):
        TotalVariation(iterations=50.0)


def test_both_exports_are_the_module(tmp_path: Path) -> None:
    """Every image of a batch and every channel is denoised by itself, also of the smallest size; no step is lost."""
    defence = TotalVariation().eval()
    export_torchscript(defence, tmp_path / "tv.pt")
    export_onnx(defence, tmp_path / "tv.onnx")
    assert check_parity(defence, tmp_path / "tv.pt", tmp_path / "tv.onnx")
    script, graph = load_torchscript(tmp_path / "tv.pt"), load_onnx(tmp_path / "tv.onnx", input_names(defence))
    for (height, width), steps in (((2, 2), 9.0), ((2, 31), 1.0), ((41, 23), 13.0)):
        batch = to_batch(*(crop(photo, 11, 17, height, width) for photo in range(3)))
        inputs = (batch, torch.tensor(0.2), torch.tensor(steps))
        alone = torch.cat([denoised(each[None], 0.2, steps) for each in batch])
        assert torch.allclose(script(inputs), alone, atol=1e-6)
        assert torch.allclose(graph(inputs), alone, atol=1e-6)


def test_the_graphs_stay_small(tmp_path: Path) -> None:
    """A step is a loop, not a copy for each number of steps."""
    export_torchscript(TotalVariation().eval(), tmp_path / "graph.pt")
    export_onnx(TotalVariation().eval(), tmp_path / "graph.onnx")
    assert max((tmp_path / name).stat().st_size for name in ("graph.pt", "graph.onnx")) < 20_000
