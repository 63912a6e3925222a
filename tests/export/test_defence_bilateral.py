"""The bilateral defence against OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import crop, to_batch

from scoreguard_export.defences.bilateral import Bilateral
from scoreguard_export.errors import ParameterError

KERNELS = [3, 5, 7]


def opencv(batch: torch.Tensor, kernel: int, sigma_color: float, sigma_space: float) -> np.ndarray:
    """Filter by OpenCV in float, with its default border."""
    images = np.ascontiguousarray(batch.permute(0, 2, 3, 1).numpy())
    return np.stack([cv2.bilateralFilter(image, kernel, sigma_color, sigma_space) for image in images])


def filtered(batch: torch.Tensor, kernel: int, sigma_color: float, sigma_space: float) -> np.ndarray:
    """Filter by the defence."""
    defence = Bilateral(kernel=float(kernel))
    output: torch.Tensor = defence(batch, torch.tensor(sigma_color), torch.tensor(sigma_space))
    return output.permute(0, 2, 3, 1).numpy()


@settings(max_examples=40, deadline=None)
@given(
    kernel=st.sampled_from(KERNELS),
    sigma_color=st.floats(0.02, 3.0),
    sigma_space=st.floats(0.3, 100.0),
    height=st.integers(4, 60),
    width=st.integers(4, 60),
    photo=st.integers(0, 3),
)
def test_it_is_opencvs_bilateral_filter(
    kernel: int, sigma_color: float, sigma_space: float, height: int, width: int, photo: int
) -> None:
    """Every kernel, both sigmas and every size agree, borders included; OpenCV reads its weights from a table."""
    batch = to_batch(crop(photo, 11, 17, height, width), crop(photo + 1, 3, 5, height, width))
    sigmas = sigma_color, sigma_space
    assert np.abs(filtered(batch, kernel, *sigmas) - opencv(batch, kernel, *sigmas)).max() < 1e-4


def test_edges_stay_where_a_gaussian_blurs_them() -> None:
    """A step larger than the colour sigma keeps its height; with a wide colour sigma it does not."""
    image = torch.zeros(1, 3, 12, 16)
    image[:, :, :, 8:] = 0.8
    assert np.abs(filtered(image, 5, 0.05, 75.0) - image.permute(0, 2, 3, 1).numpy()).max() < 1e-6
    assert np.abs(filtered(image, 5, 3.0, 75.0) - image.permute(0, 2, 3, 1).numpy()).max() > 0.1


@settings(max_examples=25, deadline=None)
@given(
    kernel=st.sampled_from(KERNELS), color=st.floats(0.01, 3.0), space=st.floats(0.1, 100.0), seed=st.integers(0, 99)
)
def test_it_is_a_mean_of_what_is_near(kernel: int, color: float, space: float, seed: int) -> None:
    """Noise stays between its smallest and largest value; the narrowest sigmas give no NaN."""
    image = 0.2 + 0.5 * torch.rand(2, 3, 9, 14, generator=torch.Generator().manual_seed(seed))
    output = filtered(image, kernel, color, space)
    assert output.shape == (2, 9, 14, 3)
    assert float(image.min()) - 1e-6 <= output.min() <= output.max() <= float(image.max()) + 1e-6


@pytest.mark.parametrize("kernel", KERNELS)
def test_its_gradient_is_the_derivative(kernel: int) -> None:
    """Autograd agrees with finite differences in double precision."""
    image = (torch.rand(1, 3, 6, 7, generator=torch.Generator().manual_seed(1)).double() * 0.8 + 0.1).requires_grad_()
    sigmas = torch.tensor(0.3), torch.tensor(1.5)
    defence = Bilateral(kernel=float(kernel))
    assert torch.autograd.gradcheck(lambda x: defence(x, *sigmas), (image,), fast_mode=True)


def test_white_keeps_its_gradient() -> None:
    """Rounding of the weighted mean does not cut the gradient off."""
    image = torch.ones(1, 3, 12, 15, requires_grad=True)
    output = Bilateral()(image, torch.tensor(0.3), torch.tensor(2.0))
    (gradient,) = torch.autograd.grad(output.sum(), image)
    assert float(output.detach().max()) <= 1.0
    assert float(gradient.sum()) == pytest.approx(3 * 12 * 15, rel=1e-4)


@pytest.mark.parametrize("kernel", [1.0, 4.0, 9.0])
def test_a_kernel_without_a_graph_is_refused(kernel: float) -> None:
    """The error names the choices."""
    with pytest.raises(ParameterError, match=f"kernel={kernel:g}: choose from 3, 5, 7"):
        Bilateral(kernel=kernel)
