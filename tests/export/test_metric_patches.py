"""The grid of patches against loops over crops."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from scoreguard_export.metrics.patches import mean_of_each, patches_of, uniform_patches

SIDE, STRIDE = 20, 8


def _starts(length: int) -> list[int]:
    """Every eighth pixel while a patch fits, and the last place where one fits."""
    found = [start for start in range(0, length, STRIDE) if start + SIDE <= length]
    return found if found[-1] + SIDE == length else [*found, length - SIDE]


def _crops(image: Tensor) -> list[Tensor]:
    """Crops of one image (C, H, W), row by row."""
    tops, lefts = _starts(image.shape[1]), _starts(image.shape[2])
    return [image[:, top : top + SIDE, left : left + SIDE] for top in tops for left in lefts]


@settings(max_examples=60, deadline=None)
@given(height=st.integers(SIDE, 90), width=st.integers(SIDE, 90), count=st.integers(1, 3))
def test_the_patches_are_the_crops_of_the_loop(height: int, width: int, count: int) -> None:
    """In its order, image after image; every pixel is in one, up to the borders."""
    image = torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(height))
    expected = [crop for each in image for crop in _crops(each)]
    assert torch.equal(patches_of(image, SIDE, STRIDE), torch.stack(expected))
    (gradient,) = torch.autograd.grad(patches_of(image.requires_grad_(), SIDE, STRIDE).sum(), image)
    assert bool((gradient >= 1.0).all())


@settings(max_examples=60, deadline=None)
@given(height=st.integers(SIDE, 90), width=st.integers(SIDE, 90), count=st.sampled_from([1, 2, 4, 6, 25, 50]))
def test_a_uniform_grid_has_the_first_of_its_places(height: int, width: int, count: int) -> None:
    """Row by row until there are as many as wanted; the steps are rounded down, so none leaves the image."""
    image = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height))
    down, right = ((length - SIDE) // int(math.sqrt(count)) for length in (height, width))
    rows = math.ceil(math.sqrt(count))
    places = [(row * down, column * right) for row in range(rows) for column in range(rows)][:count]
    expected = [each[:, top : top + SIDE, left : left + SIDE] for each in image for top, left in places]
    assert torch.equal(uniform_patches(image, SIDE, count), torch.stack(expected))


def test_scores_of_patches_are_averaged_image_by_image() -> None:
    """Three patches of the first image, three of the second."""
    scores = torch.tensor([1.0, 2.0, 6.0, 10.0, 20.0, 60.0])[:, None]
    assert mean_of_each(scores, torch.zeros(2, 3, 1, 1)).tolist() == [3.0, 30.0]
