"""The resize defence against Pillow (with antialias) and OpenCV (without)."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import crop, to_batch
from PIL import Image

from scoreguard_export.defences.resize import Resize


def pillow(batch: torch.Tensor, height: int, width: int) -> np.ndarray:
    """Resize each channel by Pillow in float: its bilinear filter widens with the reduction."""
    channels = [
        [Image.fromarray(channel).resize((width, height), Image.Resampling.BILINEAR) for channel in image]
        for image in batch.numpy()
    ]
    return np.array([[np.asarray(channel) for channel in image] for image in channels])


def opencv(batch: torch.Tensor, height: int, width: int) -> np.ndarray:
    """Resize by OpenCV's two-tap bilinear filter."""
    images = batch.permute(0, 2, 3, 1).numpy()
    resized = [cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR) for image in images]
    return np.stack(resized).transpose(0, 3, 1, 2)


def expected_size(length: int, scale: float) -> int:
    """The documented rule, in the float32 of the graph."""
    return max(1, math.floor(np.float32(length) * np.float32(scale) + np.float32(0.5)))


SIZES = st.tuples(st.integers(2, 70), st.integers(2, 70))


@settings(max_examples=40, deadline=None)
@given(size=SIZES, scale=st.floats(0.1, 1.0), photo=st.integers(0, 3))
def test_with_antialias_it_is_pillows_bilinear(size: tuple[int, int], scale: float, photo: int) -> None:
    """Any size and scale, down to results of one pixel."""
    batch = to_batch(crop(photo, 50, 80, *size), crop(photo + 1, 5, 8, *size))
    result = Resize()(batch, torch.tensor(scale)).numpy()
    reference = pillow(batch, expected_size(size[0], scale), expected_size(size[1], scale))
    assert result.shape == reference.shape
    assert np.abs(result - reference).max() < 1e-5


@settings(max_examples=40, deadline=None)
@given(size=SIZES, scale=st.floats(0.1, 1.0), photo=st.integers(0, 3))
def test_without_antialias_it_is_opencvs_bilinear(size: tuple[int, int], scale: float, photo: int) -> None:
    """Any size and scale; the two filters differ only in the last bits."""
    batch = to_batch(crop(photo, 50, 80, *size))
    result = Resize(antialias=0.0)(batch, torch.tensor(scale)).numpy()
    reference = opencv(batch, expected_size(size[0], scale), expected_size(size[1], scale))
    assert result.shape == reference.shape
    assert np.abs(result - reference).max() < 1e-4


@pytest.mark.parametrize("antialias", [0.0, 1.0])
def test_restore_brings_the_image_back_to_its_size(antialias: float) -> None:
    """The way back is OpenCV's bilinear enlargement of the small image."""
    batch = to_batch(crop(1, 20, 30, 41, 67))
    small = Resize(antialias=antialias)(batch, torch.tensor(0.3))
    restored = Resize(antialias=antialias, restore=1.0)(batch, torch.tensor(0.3)).numpy()
    assert restored.shape == (1, 3, 41, 67)
    assert np.abs(restored - opencv(small, 41, 67)).max() < 1e-4


def test_the_two_filters_are_really_different() -> None:
    """At a strong reduction the antialiased image has far less fine detail, so neither test above is vacuous."""
    batch = to_batch(crop(1, 20, 30, 120, 120))
    wide, narrow = (Resize(antialias=a)(batch, torch.tensor(0.2)) for a in (1.0, 0.0))
    assert float((wide - narrow).abs().max()) > 0.05


@pytest.mark.parametrize("variant", Resize.facts.variants())
def test_scale_one_is_the_identity(variant: dict[str, float]) -> None:
    """Nothing changes where nothing shrinks."""
    batch = to_batch(crop(3, 20, 30, 33, 47))
    assert torch.allclose(Resize(**variant)(batch, torch.tensor(1.0)), batch, atol=1e-6)


@pytest.mark.parametrize("variant", Resize.facts.variants())
@pytest.mark.parametrize("scale", [0.1, 0.62])
def test_its_gradient_is_the_derivative(variant: dict[str, float], scale: float) -> None:
    """Autograd agrees with finite differences in double precision, also where one pixel is left."""
    image = (torch.rand(1, 3, 7, 9, generator=torch.Generator().manual_seed(1)).double() * 0.8 + 0.1).requires_grad_()
    defence = Resize(**variant)
    assert torch.autograd.gradcheck(lambda x: defence(x, torch.tensor(scale)), (image,))
