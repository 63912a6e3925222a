"""The nlm defence against OpenCV, and against the formula written out pixel by pixel."""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import crop, to_batch

from scoreguard_export.defences.nlm import NonLocalMeans
from scoreguard_export.errors import ParameterError

PATCHES = [3, 5, 7]


def denoised(batch: torch.Tensor, patch: int, strength: float, search: float) -> torch.Tensor:
    """Denoise by the defence."""
    output: torch.Tensor = NonLocalMeans(patch=float(patch))(batch, torch.tensor(strength), torch.tensor(search))
    return output


def by_the_formula(image: np.ndarray, patch: int, strength: float, search: int) -> np.ndarray:
    """Denoise one image (H, W, 3) in double precision, each pixel by itself."""
    f, r = patch // 2, search // 2
    padded = np.pad(image.astype(np.float64), [(f + r, f + r), (f + r, f + r), (0, 0)], mode="reflect")
    result = np.empty(image.shape)
    for row, column in np.ndindex(image.shape[:2]):
        own = padded[row + r : row + r + patch, column + r : column + r + patch]
        total, weights = np.zeros(3), 0.0
        for down, right in product(range(search), repeat=2):
            other = padded[row + down : row + down + patch, column + right : column + right + patch]
            weight = np.exp(-np.mean((own - other) ** 2) / strength**2)
            total, weights = total + weight * other[f, f], weights + weight
        result[row, column] = total / weights
    return result


@pytest.mark.parametrize(("patch", "search"), [(3, 3), (3, 7), (5, 5), (7, 11)])
def test_it_is_the_formula(patch: int, search: int) -> None:
    """Every patch, in double precision, borders included."""
    image = crop(patch, 40, 60, 15, 18)
    expected = by_the_formula(image / 255.0, patch, 0.07, search)
    output = denoised(to_batch(image), patch, 0.07, float(search))[0].permute(1, 2, 0).numpy()
    assert np.abs(output - expected).max() < 1e-5


@settings(max_examples=20, deadline=None)
@given(
    patch=st.sampled_from(PATCHES),
    level=st.floats(3.0, 40.0),
    search=st.sampled_from([5, 11, 21]),
    height=st.integers(14, 60),
    width=st.integers(14, 60),
    photo=st.integers(0, 3),
)
def test_it_is_opencvs_on_photographs(
    patch: int, level: float, search: int, height: int, width: int, photo: int
) -> None:
    """Within three levels of 255 everywhere, half a level in the mean: OpenCV rounds distances, weights and result."""
    image = crop(photo, 11, 17, height, width)
    expected = np.asarray(cv2.fastNlMeansDenoising(image, None, level, patch, search))
    output = denoised(to_batch(image), patch, level / 255.0, float(search))[0].permute(1, 2, 0).numpy() * 255.0
    difference = np.abs(output - expected)
    assert difference.max() < 3.0
    assert difference.mean() < 0.5


def test_it_removes_noise_from_a_photograph() -> None:
    """The result is nearer to the clean image than the noisy one was, and than a mean of everything would be."""
    clean = to_batch(crop(0, 40, 60, 90, 101))
    noisy = (clean + 0.06 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(5))).clamp(0.0, 1.0)
    errors = [float((denoised(noisy, 7, strength, 11.0) - clean).square().mean()) for strength in (0.005, 0.06, 1.0)]
    assert errors[1] < 0.5 * errors[0]
    assert errors[1] < 0.5 * errors[2]


def test_a_flat_image_and_a_repeated_one_stay() -> None:
    """Pixels of equal surroundings have equal values here, so their mean changes nothing, however small h is."""
    stripes = torch.zeros(1, 3, 24, 30)
    stripes[:, :, :, ::2] = 1.0
    for image in (stripes, torch.full_like(stripes, 0.4)):
        assert torch.allclose(denoised(image, 3, 0.005, 9.0), image, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(strength=st.floats(0.005, 1.0), search=st.floats(3.0, 21.0), seed=st.integers(0, 99))
def test_it_is_a_mean_of_what_is_near(strength: float, search: float, seed: int) -> None:
    """Noise stays between its smallest and largest value, at any strength and search."""
    image = 0.2 + 0.5 * torch.rand(2, 3, 14, 19, generator=torch.Generator().manual_seed(seed))
    output = denoised(image, 3, strength, search)
    assert output.shape == image.shape
    assert float(image.min()) - 1e-6 <= float(output.min()) <= float(output.max()) <= float(image.max()) + 1e-6


def test_an_even_search_is_the_next_odd_one() -> None:
    """The square has a centre: 4 pixels are 5."""
    batch = to_batch(crop(2, 5, 7, 20, 23))
    assert torch.equal(denoised(batch, 3, 0.1, 4.0), denoised(batch, 3, 0.1, 5.0))


@pytest.mark.parametrize("patch", PATCHES)
def test_its_gradient_is_the_derivative(patch: int) -> None:
    """Autograd agrees with finite differences in double precision."""
    image = torch.rand(1, 3, 14, 15, generator=torch.Generator().manual_seed(1)).double().requires_grad_()
    scalars = torch.tensor(0.3), torch.tensor(5.0)
    defence = NonLocalMeans(patch=float(patch))
    assert torch.autograd.gradcheck(lambda x: defence(x, *scalars), (image,), fast_mode=True)


def test_a_patch_without_a_graph_is_refused() -> None:
    """The error names the choices."""
    with pytest.raises(ParameterError, match="patch=9: choose from 3, 5, 7"):
        NonLocalMeans(patch=9.0)
