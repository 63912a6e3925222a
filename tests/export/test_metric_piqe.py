"""PIQE against published values of MATLAB, and against loops over blocks in NumPy."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from data_folder import DATA, WHY_SKIPPED
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.metrics.catalogue import load_metric
from scoreguard_export.metrics.piqe import Piqe, extended, is_noisy
from scoreguard_export.training.evaluate_mos import score_file

CONFORMANCE = DATA / "conformance"
needs_data = pytest.mark.skipif(not CONFORMANCE.is_dir(), reason=WHY_SKIPPED)


def image_of(height: int, width: int, seed: int, sharpness: float = 1.0) -> np.ndarray:
    """Levels (H, W, 3): texture that grows from nothing on the left to strong on the right, with some noise."""
    generator = np.random.default_rng(seed)
    texture = ndimage.gaussian_filter(generator.standard_normal((height, width, 3)), (sharpness, sharpness, 0))
    strength = np.linspace(0.0, 60.0, width)[None, :, None] / texture.std()
    levels: np.ndarray = np.clip(128.0 + strength * texture, 0, 255).astype(np.uint8)
    return levels


def batch_of(image: np.ndarray) -> Tensor:
    """(1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255.0


def normalised(image: np.ndarray) -> np.ndarray:
    """MATLAB's grey levels, extended to whole blocks and normalised by a 7×7 Gaussian with repeated edges."""
    grey = np.floor(image.astype(float) @ [0.298936021293775, 0.587043074451121, 0.114020904255103] + 0.5)
    grey = np.pad(grey, [(0, -side % 16) for side in grey.shape], mode="edge")
    mean, second = (ndimage.gaussian_filter(x, 7 / 6, radius=3, mode="nearest") for x in (grey, grey**2))
    result: np.ndarray = (grey - mean) / (np.sqrt(np.abs(second - mean**2)) + 1.0)
    return result


def block_score(block: np.ndarray) -> tuple[float, float]:
    """What a block adds to the sum, and 1 if it is active."""
    variance = block.var(ddof=1)
    if variance <= 0.1:
        return 0.0, 0.0
    edges = [block[0], block[15], block[:, 0], block[:, 15]]
    impaired = any(edge[i : i + 6].std(ddof=1) < 0.1 for edge in edges for i in range(11))
    surround = np.delete(np.delete(block, 7, axis=1), 8, axis=1)
    ratio = block[:, 7:9].std(ddof=1) / surround.std(ddof=1)
    deviation = np.sqrt(variance)
    noisy = deviation > 2.0 * abs(deviation - ratio) / max(deviation, ratio)
    return impaired * (1.0 - variance) + noisy * variance, 1.0


def reference(image: np.ndarray) -> float:
    """The score by loops over blocks."""
    levels = normalised(image)
    parts = [
        block_score(levels[i : i + 16, j : j + 16])
        for i in range(0, levels.shape[0], 16)
        for j in range(0, levels.shape[1], 16)
    ]
    return 100.0 * (1.0 + sum(part[0] for part in parts)) / (1.0 + sum(part[1] for part in parts))


@needs_data
@pytest.mark.parametrize("name", ["I03", "I04", "I06", "I08", "I19"])
def test_published_values_of_matlab_come_out_to_the_last_digit(name: str) -> None:
    """Five images, two decimals."""
    with (CONFORMANCE / "results_official.csv").open(newline="") as stream:
        published = next(row for row in csv.DictReader(stream) if row["Method"] == "piqe")
    mine = score_file(load_metric("piqe"), CONFORMANCE / f"{name}_dist.png")
    assert mine == pytest.approx(float(published[f"{name}.bmp"]), abs=0.00501)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (64, 96), (101, 70), (40, 161)])
@pytest.mark.parametrize("sharpness", [0.5, 1.5])
def test_the_score_equals_an_independent_implementation(height: int, width: int, sharpness: float) -> None:
    """Sizes of whole blocks and others; single precision holds seven digits of the result."""
    image = image_of(height, width, height, sharpness)
    with torch.no_grad():
        assert float(Piqe()(batch_of(image))) == pytest.approx(reference(image), abs=1e-4)


@settings(max_examples=20, deadline=None)
@given(height=st.integers(32, 90), width=st.integers(32, 90), seed=st.integers(0, 99))
def test_any_size_gives_the_score_of_the_loops(height: int, width: int, seed: int) -> None:
    """Every remainder of 16 in both sides."""
    image = image_of(height, width, seed)
    with torch.no_grad():
        assert float(Piqe()(batch_of(image))) == pytest.approx(reference(image), abs=1e-4)


def test_the_last_row_and_column_are_repeated() -> None:
    """As NumPy pads to whole blocks."""
    grey = np.random.default_rng(0).standard_normal((33, 47))
    assert np.array_equal(extended(torch.from_numpy(grey)[None, None])[0, 0], np.pad(grey, [(0, 15), (0, 1)], "edge"))


def test_an_image_scores_the_same_bits_alone_and_in_any_batch() -> None:
    """No statistic is shared between the images of a batch."""
    metric, images = Piqe(), photographs(3, 75, 100, 0)
    with torch.no_grad():
        alone = torch.cat([metric(image[None]) for image in images])
        assert torch.equal(metric(images), alone)
        assert torch.equal(metric(images.flip(0)), alone.flip(0))


@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
def test_an_image_without_an_active_block_scores_100(level: float) -> None:
    """As MATLAB's does; the gradient is finite and zero."""
    image = torch.full((1, 3, 48, 50), level, requires_grad=True)
    score = Piqe()(image)
    score.sum().backward()
    assert score.tolist() == [100.0]
    assert image.grad is not None
    assert float(image.grad.abs().max()) == 0.0


def test_noise_raises_the_score() -> None:
    """Lower is better."""
    clean = photographs(1, 128, 160, 1)
    noisy = (clean + 0.2 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))).clamp(0.0, 1.0)
    with torch.no_grad():
        assert float(Piqe()(noisy)) > float(Piqe()(clean)) + 20.0


def test_a_surround_without_deviation_is_not_noise() -> None:
    """MATLAB divides by zero there, and what is no number is above no threshold."""
    blocks = torch.zeros(2, 16, 16, dtype=torch.float64)
    blocks[0, ::2, 7] = 5.0
    assert is_noisy(blocks).tolist() == [False, False]


def test_the_gradient_is_that_of_the_blocks_which_count() -> None:
    """Along random directions of the grey levels, by finite differences; the decisions stay as they are."""
    metric = Piqe()
    grey = torch.from_numpy(normalised(image_of(64, 96, 3)) * 40.0 + 128.0)[None, None].requires_grad_()
    metric.luminance = torch.nn.Identity()  # type: ignore[assignment]
    (slope,) = torch.autograd.grad(metric(grey).sum(), grey)
    assert bool(slope.isfinite().all())
    assert float(slope.abs().max()) > 0.0
    for seed in range(3):
        direction = torch.from_numpy(np.random.default_rng(seed).standard_normal(grey.shape))
        with torch.no_grad():
            change = float(metric(grey + 1e-6 * direction) - metric(grey - 1e-6 * direction)) / 2e-6
        assert change == pytest.approx(float((slope * direction).sum()), rel=1e-4)


def test_the_gradient_passes_the_rounding_of_the_grey_value() -> None:
    """In the proportion of the grey weights."""
    image = batch_of(image_of(64, 64, 1)).requires_grad_()
    Piqe()(image).sum().backward()
    assert image.grad is not None
    red, green, _ = image.grad[0]
    assert float(green.abs().max()) > 0.0
    assert torch.allclose(red, green * (0.298936021293775 / 0.587043074451121), rtol=1e-4)
