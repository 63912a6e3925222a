"""The centre of resized images against Pillow, torchvision and open_clip's own preparation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import crop, to_batch
from PIL import Image
from torch import Tensor

from scoreguard_export.libraries import library
from scoreguard_export.metrics.centre import bicubic_centre, bilinear_centre

SIDES = st.integers(1, 300)
FILTERS = {bilinear_centre: Image.Resampling.BILINEAR, bicubic_centre: Image.Resampling.BICUBIC}


def _noise(height: int, width: int) -> Tensor:
    """Between 0.4 and 0.6, so that nothing overshoots."""
    noise = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height * 1000 + width))
    return 0.4 + 0.2 * noise


def _by_torchvision(image: Tensor, side: int, resampling: Image.Resampling) -> Tensor:
    """Planes of single precision, resized by Pillow and cut as torchvision says."""
    functional = library("torchvision.transforms.functional", "backbones", "a test")
    planes = [Image.fromarray(plane.numpy()) for each in image for plane in each]
    cut = [functional.center_crop(functional.resize(plane, side, resampling), side) for plane in planes]
    return torch.from_numpy(np.stack([np.asarray(plane) for plane in cut])).reshape(*image.shape[:2], side, side)


@pytest.mark.parametrize("mine", FILTERS)
@settings(max_examples=60, deadline=None)
@given(height=SIDES, width=SIDES, side=st.integers(1, 300))
def test_planes_of_fractions_are_those_of_pillow(mine: type, height: int, width: int, side: int) -> None:
    """Reduced or enlarged, high or wide, to within 1e-5; the odd pixel of a cut is on torchvision's side."""
    image = _noise(height, width)
    difference = mine(image, side) - _by_torchvision(image, side, FILTERS[mine])
    assert float(difference.abs().max()) <= 1e-5


@pytest.mark.parametrize(("photo", "height", "width"), [(0, 300, 451), (1, 399, 597), (2, 101, 99), (3, 224, 250)])
def test_photographs_are_prepared_as_by_open_clip(photo: int, height: int, width: int) -> None:
    """Which rounds to whole levels after each direction: the two errors are 1.2 levels at most, a third on average."""
    prepare = library("open_clip", "clip", "a test").image_transform(224, is_train=False, mean=(0, 0, 0), std=(1, 1, 1))
    image = crop(photo, 0, 0, height, width)
    theirs = prepare(Image.fromarray(image)) * 255.0
    mine = bicubic_centre(to_batch(image), 224)[0] * 255.0
    assert float((mine - theirs).abs().max()) < 1.5
    assert float((mine - theirs).abs().mean()) < 0.4


def test_an_overshoot_is_cut_off_as_by_pillow() -> None:
    """At a step from black to white the cubic filter leaves [0, 1] without it."""
    image = torch.zeros(1, 3, 40, 40)
    image[..., 20:] = 1.0
    enlarged = bicubic_centre(image, 100)
    assert float(enlarged.min()) == 0.0
    assert float(enlarged.max()) == 1.0
    levels = Image.fromarray((image[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    theirs = np.asarray(levels.resize((100, 100), Image.Resampling.BICUBIC)) / 255.0
    assert np.abs(enlarged[0].permute(1, 2, 0).numpy() - theirs).max() < 1.0 / 255.0
