"""The wavelet defence against BayesShrink written with Haar matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import crop, to_batch

from scoreguard_export.defences.wavelet import Wavelet
from scoreguard_export.errors import ParameterError

LEVELS = [1, 2, 3, 4]


def denoised(batch: torch.Tensor, levels: int, sigma: float) -> torch.Tensor:
    """Denoise by the defence."""
    output: torch.Tensor = Wavelet(levels=float(levels))(batch, torch.tensor(sigma))
    return output


def haar(length: int) -> np.ndarray:
    """One level of the orthonormal transform of a column: means in the upper half, differences in the lower."""
    half = np.eye(length // 2)
    matrix: np.ndarray = np.vstack([np.kron(half, [1.0, 1.0]), np.kron(half, [1.0, -1.0])]) / np.sqrt(2.0)
    return matrix


def bayes_shrink(channel: np.ndarray, levels: int, sigma: float) -> np.ndarray:
    """Denoise one channel whose size is a multiple of 2^levels, in double precision, by matrices."""
    if levels == 0:
        return channel
    rows, columns = haar(channel.shape[0]), haar(channel.shape[1])
    coefficients = rows @ channel @ columns.T
    h, w = channel.shape[0] // 2, channel.shape[1] // 2
    for band in (coefficients[:h, w:], coefficients[h:, :w], coefficients[h:, w:]):
        signal = np.mean(band**2) - sigma**2
        threshold = sigma**2 / np.sqrt(signal) if signal > 1e-12 else sigma**2 * 1e6
        band[:] = np.sign(band) * np.maximum(np.abs(band) - threshold, 0.0)
    coefficients[:h, :w] = bayes_shrink(coefficients[:h, :w], levels - 1, sigma)
    result: np.ndarray = rows.T @ coefficients @ columns
    return result


@settings(max_examples=30, deadline=None)
@given(
    levels=st.sampled_from(LEVELS),
    sigma=st.floats(0.0, 0.3),
    height=st.integers(2, 60),
    width=st.integers(2, 60),
    photo=st.integers(0, 3),
)
def test_it_is_bayes_shrink_by_matrices(levels: int, sigma: float, height: int, width: int, photo: int) -> None:
    """Every number of levels, noise and size of photographs, extended by the last row and column."""
    batch = to_batch(crop(photo, 11, 17, height, width), crop(photo + 1, 3, 5, height, width))
    below, right = -height % 2**levels, -width % 2**levels
    padded = np.pad(batch.double().numpy(), [(0, 0), (0, 0), (0, below), (0, right)], mode="edge")
    expected = [[bayes_shrink(channel, levels, sigma) for channel in image] for image in padded]
    expected_batch = np.clip(np.array(expected)[:, :, :height, :width], 0.0, 1.0)
    assert np.abs(denoised(batch, levels, sigma).numpy() - expected_batch).max() < 1e-4


@pytest.mark.parametrize("levels", LEVELS)
def test_no_noise_is_the_identity(levels: int) -> None:
    """The transform is undone exactly where nothing is shrunk."""
    batch = to_batch(crop(0, 5, 7, 37, 51))
    assert torch.allclose(denoised(batch, levels, 0.0), batch, atol=1e-6)


def test_it_removes_noise_from_a_photograph() -> None:
    """The result is nearer to the clean image than the noisy one was."""
    clean = to_batch(crop(0, 40, 60, 120, 151))
    noisy = (clean + 0.08 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(5))).clamp(0.0, 1.0)
    error = float((denoised(noisy, 3, 0.08) - clean).square().mean())
    assert error < 0.5 * float((noisy - clean).square().mean())


def test_images_of_a_batch_and_channels_have_thresholds_of_their_own() -> None:
    """Purifying together gives what purifying alone gives."""
    images = [crop(0, 5, 7, 30, 41), crop(1, 50, 70, 30, 41)]
    together = denoised(to_batch(*images), 2, 0.05)
    for index, image in enumerate(images):
        assert torch.allclose(together[index : index + 1], denoised(to_batch(image), 2, 0.05), atol=1e-6)


@pytest.mark.parametrize("levels", [1, 3])
def test_its_gradient_is_the_derivative(levels: int) -> None:
    """Autograd agrees with finite differences in double precision, through the thresholds too."""
    image = (torch.rand(1, 3, 11, 14, generator=torch.Generator().manual_seed(1)).double() * 0.6 + 0.2).requires_grad_()
    defence = Wavelet(levels=float(levels))
    assert torch.autograd.gradcheck(lambda x: defence(x, torch.tensor(0.05)), (image,), fast_mode=True)


def test_flat_ground_has_a_gradient() -> None:
    """Details of zero give no NaN, at white as elsewhere."""
    image = torch.ones(1, 3, 13, 15, requires_grad=True)
    (gradient,) = torch.autograd.grad(denoised(image, 3, 0.1).sum(), image)
    assert float(gradient.sum()) == pytest.approx(3 * 13 * 15, rel=1e-4)


def test_a_number_of_levels_without_a_graph_is_refused() -> None:
    """The error names the choices."""
    with pytest.raises(ParameterError, match="levels=5: choose from 1, 2, 3, 4"):
        Wavelet(levels=5.0)
