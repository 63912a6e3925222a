"""Resizing inside metrics against Pillow, torchvision and scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import crop, to_batch
from PIL import Image
from reference_scores import by_pillow, by_scikit_image
from torch import Tensor

from scoreguard_export.libraries import library
from scoreguard_export.metrics.resize import pillow_bilinear, smaller, two_tap_bilinear, with_shorter_side

SIDES = st.integers(1, 300)


def _noise(height: int, width: int) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height * 1000 + width))


def _by_pillow(image: Tensor, height: int, width: int) -> Tensor:
    """Pillow's BILINEAR on single-precision planes."""
    return torch.stack([by_pillow(each, height, width) for each in image])


@settings(max_examples=60, deadline=None)
@given(height=SIDES, width=SIDES, target_height=SIDES, target_width=SIDES)
def test_planes_of_fractions_are_resized_as_by_pillow(
    height: int, width: int, target_height: int, target_width: int
) -> None:
    """Reduced or enlarged, in either direction, to within 1e-5."""
    image = _noise(height, width)
    difference = pillow_bilinear(image, target_height, target_width) - _by_pillow(image, target_height, target_width)
    assert float(difference.abs().max()) <= 1e-5


@pytest.mark.parametrize(("height", "width"), [(3000, 4000), (4001, 2999)])
def test_large_images_are_as_exact(height: int, width: int) -> None:
    """The positions of pixels far from the corner are as exact as those near it."""
    image = _noise(height, width)[:1, :1]
    assert float((pillow_bilinear(image, 224, 320) - _by_pillow(image, 224, 320)).abs().max()) <= 1e-5
    theirs = by_scikit_image(image[0], 224, 320)
    assert float((two_tap_bilinear(image, 224, 320)[0] - theirs).abs().max()) <= 1e-5


@pytest.mark.parametrize(("photo", "height", "width"), [(0, 512, 512), (1, 399, 597), (2, 300, 451), (3, 101, 640)])
def test_photographs_of_8_bits_differ_by_less_than_a_level(photo: int, height: int, width: int) -> None:
    """Pillow rounds to whole levels after each direction: the two errors are below 1, and a third on average."""
    image = crop(photo, 0, 0, height, width)
    resized = Image.fromarray(image).resize((257, 129), Image.Resampling.BILINEAR)
    mine = pillow_bilinear(to_batch(image), 129, 257)[0].permute(1, 2, 0).numpy() * 255.0
    errors = np.abs(mine - np.asarray(resized, dtype=np.float64))
    assert errors.max() < 1.01
    assert errors.mean() < 0.4


def test_an_image_of_the_wanted_size_stays_as_it_is() -> None:
    """To the last bit."""
    image = _noise(97, 131)
    assert torch.equal(pillow_bilinear(image, 97, 131), image)
    assert torch.equal(two_tap_bilinear(image, 97, 131), image)


@settings(max_examples=60, deadline=None)
@given(height=SIDES, width=SIDES, target=st.integers(1, 300))
def test_two_taps_are_those_of_scikit_image(height: int, width: int, target: int) -> None:
    """Its order 1 with repeated edges and without smoothing, reduced or enlarged, to within 1e-5."""
    image = _noise(height, width)
    theirs = torch.stack([by_scikit_image(each, target, 224) for each in image])
    assert float((two_tap_bilinear(image, target, 224) - theirs).abs().max()) <= 1e-5


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 3000), width=st.integers(1, 3000), side=st.integers(1, 600))
def test_the_size_with_a_shorter_side_is_torchvisions(height: int, width: int, side: int) -> None:
    """Down to the rounding of the longer side; where the image is smaller, it stays as it is."""
    found = with_shorter_side(height, width, side)
    if min(height, width) < side:
        assert found == (height, width)
    else:
        functional = library("torchvision.transforms.functional", "backbones", "a test")
        image = Image.new("L", (width, height))
        assert found == functional.resize(image, side, Image.Resampling.BILINEAR).size[::-1]


@settings(max_examples=60, deadline=None)
@given(first=st.integers(0, 10**6), second=st.integers(0, 10**6))
def test_the_smaller_of_two_is_the_minimum(first: int, second: int) -> None:
    """Without a comparison, which a captured graph would settle for good."""
    assert smaller(first, second) == min(first, second)
