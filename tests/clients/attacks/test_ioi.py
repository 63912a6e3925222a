"""IOI: its two filters against an independent composition, its bound, and the published image quality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.clients.attacks.budgets import require_budget
from tests.clients.attacks.conftest import LinearOracle, TorchOracle

from scoreguard_client.attacks import AttackSpecError, Direction
from scoreguard_client.attacks.ioi import IOI, visibility
from scoreguard_client.oracles.base import Images
from scoreguard_export.metrics.catalogue import load_metric

Plane = npt.NDArray[np.float64]
PUBLISHED_PSNR, PUBLISHED_SSIM = 33.41, 0.950
"""Means over the 1000 NIPS 2017 images with PaQ-2-PiQ attacked, from the authors' notebook (SSIM of luma)."""


def noisy_photograph(seed: int = 0) -> Images:
    """One smooth 40 x 37 image with texture on its right half."""
    rows, columns = np.indices((40, 37))
    base = 0.5 + 0.3 * np.sin(rows / 9) * np.cos(columns / 7)
    noise = np.random.default_rng(seed).normal(0, 0.06, (3, 40, 37)) * (columns > 18)
    return np.rint(np.clip(base + noise, 0, 1) * 255).astype(np.float32)[None] / np.float32(255)


def composed(clean: Plane, stepped: Plane, keep: float) -> Plane:
    """The paper's mixture of low and high frequencies of both images, channel by channel, with scipy."""
    ndimage, fft = pytest.importorskip("scipy.ndimage"), pytest.importorskip("scipy.fft")
    contrast = np.zeros_like(clean)
    for channel, plane in enumerate(clean):
        mean, square = ndimage.uniform_filter(plane, 3), ndimage.uniform_filter(plane**2, 3)
        inner = np.sqrt(np.clip(square - mean**2, 0, None)) / np.where(mean == 0, 1, mean)
        contrast[channel, 1:-1, 1:-1] = inner[1:-1, 1:-1]
    share = contrast / contrast.max()
    mask = np.where(share < 0.01, 0, share) ** 0.5
    mixed = np.zeros_like(clean)
    for channel, (one, other) in enumerate(zip(clean, stepped, strict=True)):
        spectrum, changed = fft.fft2(one), fft.fft2(other)
        ordered = np.sort(np.abs(spectrum).ravel())
        threshold = ordered[min(int(np.floor((1 - keep) * len(ordered))), len(ordered) - 1)]
        strong = np.abs(spectrum) - threshold > 1e-7
        low, high = fft.ifft2(spectrum * strong).real, fft.ifft2(spectrum * ~strong).real
        changed_high = fft.ifft2(changed * ~strong).real
        mixed[channel] = low + mask[channel] * changed_high + (1 - mask[channel]) * high
    return np.clip(mixed, 0, 1)


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize(("lr", "keep"), [(0.1, 0.07), (0.03, 0.5), (0.2, 0.0)])
def test_it_is_the_papers_mixture_of_frequencies(direction: Direction, lr: float, keep: float) -> None:
    """Composed by other libraries, low + m * stepped high + (1 - m) * high is the same image."""
    clean = noisy_photograph()
    weights = np.random.default_rng(3).normal(size=clean.shape[1:]).astype(np.float32)
    result = IOI(lr=lr, keep=keep, direction=direction)(clean, LinearOracle(weights=weights))
    sign = 1 if direction is Direction.UP else -1
    stepped = np.clip(clean[0].astype(np.float64) + sign * lr * np.sign(weights), 0, 1)
    np.testing.assert_allclose(result.attacked[0], composed(clean[0].astype(np.float64), stepped, keep), atol=1e-5)


def test_the_strong_frequencies_of_the_image_are_not_in_the_filtered_step() -> None:
    """Of every channel 7 % of the coefficients, its largest, are zero; the others are those of the step."""
    clean, difference = noisy_photograph(), np.random.default_rng(4).normal(size=(1, 3, 40, 37))
    passed = np.abs(np.fft.fft2(IOI().weak_part(difference, clean)))
    strength, wanted = np.abs(np.fft.fft2(clean.astype(np.float64))), np.abs(np.fft.fft2(difference))
    for channel in range(3):
        order = np.argsort(-strength[0, channel].ravel())
        count = int(0.07 * order.size)
        assert passed[0, channel].ravel()[order[: count - 1]].max() < 1e-9
        rest = order[count + 2 :]
        np.testing.assert_allclose(passed[0, channel].ravel()[rest], wanted[0, channel].ravel()[rest], atol=1e-9)


def test_no_value_moves_further_than_the_theorem_allows() -> None:
    """|x' - x| is at most the sum of the passed magnitudes over H W, and the best-placed value comes near its mask."""
    clean, attack = noisy_photograph(), IOI()
    weights = np.random.default_rng(5).normal(size=clean.shape[1:]).astype(np.float32)
    result = attack(clean, LinearOracle(weights=weights))
    step = np.clip(clean.astype(np.float64) + 0.1 * np.sign(weights), 0, 1) - clean
    passed = np.abs(np.fft.fft2(attack.weak_part(step, clean))).mean(axis=(2, 3))
    moved = np.abs(result.attacked.astype(np.float64) - clean).max(axis=(2, 3))
    assert np.all(moved <= passed + 1e-6)


def test_flat_regions_and_borders_stay_as_they_are() -> None:
    """Nothing hides where there is no contrast."""
    clean = np.full((1, 3, 20, 20), 0.4, dtype=np.float32)
    clean[:, :, 5:9, 5:9] = np.random.default_rng(6).random((3, 4, 4), dtype=np.float32)
    weights = np.random.default_rng(7).normal(size=clean.shape[1:]).astype(np.float32)
    result = IOI()(clean, LinearOracle(weights=weights))
    np.testing.assert_allclose(result.attacked[:, :, 11:, :], 0.4, atol=1e-6)
    assert np.abs(result.attacked - clean)[:, :, 5:9, 5:9].max() > 0.01
    share = visibility(clean)
    assert share.max() == 1
    assert share[:, :, [0, -1], :].max() == share[:, :, :, [0, -1]].max() == 0


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (30, 2), (3, 3)])
@pytest.mark.parametrize("level", [0.0, 0.1, 1.0])
def test_flat_and_tiny_images_give_no_nan(size: tuple[int, int], level: float) -> None:
    """No contrast at all, or no 3 x 3 window: the clean image comes back."""
    clean = np.full((1, 3, *size), level, dtype=np.float32)
    result = IOI()(clean, LinearOracle(weights=np.ones(clean.shape[1:], dtype=np.float32)))
    np.testing.assert_allclose(result.attacked, clean, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.just(3), st.integers(1, 12), st.integers(1, 12)),
    eps=st.floats(1e-3, 1.0),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_bound_that_is_asked_for_holds(shape: tuple[int, ...], eps: float, seed: int) -> None:
    """L-infinity, range and 8-bit budget."""
    rng = np.random.default_rng(seed)
    clean = (rng.integers(0, 256, shape) / 255).astype(np.float32)
    attack = IOI(eps=eps)
    require_budget(attack, clean, attack(clean, LinearOracle(weights=rng.normal(size=shape[1:]).astype(np.float32))))


@pytest.mark.parametrize("wrong", [{"lr": 0.0}, {"lr": 1.5}, {"keep": 1.0}, {"keep": -0.1}, {"eps": 0.0}])
def test_parameters_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    """The message names the parameter."""
    with pytest.raises(AttackSpecError, match=next(iter(wrong))):
        IOI(**wrong)  # type: ignore[arg-type]


def test_attacked_nips_images_are_as_good_as_the_published_ones(shared_data: Path) -> None:
    """PSNR within 1.5 dB and SSIM of luma within 0.03 of the means over the whole set, on 12 images of it."""
    metrics = pytest.importorskip("skimage.metrics")
    paths = sorted((shared_data / "images" / "nips2017").glob("*.png"))[::8][:12]
    clean = np.stack([np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1) for path in paths])
    images = (clean / 255).astype(np.float32)
    attacked = IOI()(images, TorchOracle(function=load_metric("lite"))).attacked_8bit
    noise = ((attacked.astype(np.float64) - clean) ** 2).mean(axis=(1, 2, 3))
    assert abs(np.mean(10 * np.log10(255**2 / noise)) - PUBLISHED_PSNR) < 1.5
    luma = [np.einsum("nchw,c->nhw", levels, [0.257, 0.504, 0.098]) for levels in (clean, attacked)]
    options = {"data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    similar = [metrics.structural_similarity(one, other, **options) for one, other in zip(*luma, strict=True)]
    assert abs(np.mean(similar) - PUBLISHED_SSIM) < 0.03
