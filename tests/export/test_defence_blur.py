"""The blur defence against OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import crop, to_batch

from scoreguard_export.defences.blur import Blur


def opencv(batch: torch.Tensor, kernel: int, sigma: float) -> np.ndarray:
    """Blur by OpenCV in float, with its default border."""
    images = batch.permute(0, 2, 3, 1).numpy()
    return np.stack([cv2.GaussianBlur(image, (kernel, kernel), sigma) for image in images])


def blurred(batch: torch.Tensor, kernel: int, sigma: float) -> np.ndarray:
    """Blur by the defence."""
    output: np.ndarray = Blur(kernel=float(kernel))(batch, torch.tensor(sigma)).permute(0, 2, 3, 1).numpy()
    return output


@settings(max_examples=30, deadline=None)
@given(
    kernel=st.sampled_from([3, 5, 7, 9, 11]),
    sigma=st.floats(0.05, 10.0),
    height=st.integers(6, 60),
    width=st.integers(6, 60),
    photo=st.integers(0, 3),
)
def test_it_is_opencvs_gaussian_blur(kernel: int, sigma: float, height: int, width: int, photo: int) -> None:
    """Every kernel, sigma and size agrees with cv2.GaussianBlur, borders included."""
    batch = to_batch(crop(photo, 11, 17, height, width), crop(photo + 1, 3, 5, height, width))
    assert np.abs(blurred(batch, kernel, sigma) - opencv(batch, kernel, sigma)).max() < 1e-5


@pytest.mark.parametrize(("kernel", "sigma"), [(3, 0.8), (5, 1.1), (7, 1.4), (9, 1.7), (11, 2.0)])
def test_sigma_zero_takes_the_rule(kernel: int, sigma: float) -> None:
    """Without a sigma, the published values for each kernel are used."""
    batch = to_batch(crop(2, 30, 30, 33, 47))
    assert np.abs(blurred(batch, kernel, 0.0) - opencv(batch, kernel, sigma)).max() < 1e-5


def test_a_tiny_sigma_is_the_identity() -> None:
    """The narrowest Gaussian leaves the image alone and gives no NaN."""
    batch = to_batch(crop(0, 0, 0, 20, 31))
    for sigma in (1e-3, 1e-30):
        assert torch.equal(Blur(kernel=11.0)(batch, torch.tensor(sigma)), batch)


@pytest.mark.parametrize("kernel", [3.0, 11.0])
def test_white_stays_white_with_its_gradient(kernel: float) -> None:
    """Rounding neither takes white out of the range nor cuts its gradient off."""
    image = torch.ones(1, 3, 24, 24, requires_grad=True)
    output = Blur(kernel=kernel)(image, torch.tensor(0.0))
    (gradient,) = torch.autograd.grad(output.sum(), image)
    assert float(output.detach().max()) <= 1.0
    assert float(gradient.sum()) == pytest.approx(3 * 24 * 24, rel=1e-4)
    assert float(gradient.min()) > 0.1


@pytest.mark.parametrize("kernel", [3.0, 7.0])
def test_its_gradient_is_the_derivative(kernel: float) -> None:
    """Autograd agrees with finite differences in double precision."""
    image = (torch.rand(1, 3, 7, 8, generator=torch.Generator().manual_seed(1)).double() * 0.8 + 0.1).requires_grad_()
    defence = Blur(kernel=kernel)
    assert torch.autograd.gradcheck(lambda x: defence(x, torch.tensor(1.3)), (image,))
