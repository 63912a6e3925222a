"""The upscale defence against OpenCV and Pillow."""

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
from scoreguard_export.defences.upscale import BICUBIC, BILINEAR, NEAREST, Upscale
from scoreguard_export.errors import ParameterError

OPENCV = {BILINEAR: cv2.INTER_LINEAR, BICUBIC: cv2.INTER_CUBIC}


def shrunk(channel: np.ndarray, scale: float, *, antialias: bool) -> np.ndarray:
    """Shrink one channel bilinearly: by Pillow, whose filter widens, or by OpenCV, whose filter does not."""
    height, width = (
        max(1, math.floor(np.float32(length) * np.float32(scale) + np.float32(0.5))) for length in channel.shape
    )
    if antialias:
        return np.asarray(Image.fromarray(channel).resize((width, height), Image.Resampling.BILINEAR))
    return np.asarray(cv2.resize(channel, (width, height), interpolation=cv2.INTER_LINEAR)).reshape(height, width)


def enlarged(channel: np.ndarray, height: int, width: int, mode: float) -> np.ndarray:
    """Enlarge one channel: by OpenCV, or by repeating pixels in whole numbers."""
    if mode == NEAREST:
        rows = [row * channel.shape[0] // height for row in range(height)]
        return np.asarray(channel[np.ix_(rows, [column * channel.shape[1] // width for column in range(width)])])
    return np.asarray(cv2.resize(channel, (width, height), interpolation=OPENCV[mode]))


SIZES = st.tuples(st.integers(2, 60), st.integers(2, 60))
MODES = [NEAREST, BILINEAR, BICUBIC]


@settings(max_examples=60, deadline=None)
@given(
    size=SIZES, scale=st.floats(0.1, 1.0), photo=st.integers(0, 3), mode=st.sampled_from(MODES), antialias=st.booleans()
)
def test_it_is_a_library_down_and_a_library_up(
    size: tuple[int, int], scale: float, photo: int, mode: float, antialias: bool
) -> None:
    """Any size, scale, mode and filter, clipped where a cubic overshoots."""
    batch = to_batch(crop(photo, 50, 80, *size), crop(photo + 1, 5, 8, *size))
    output = Upscale(mode=mode, antialias=float(antialias))(batch, torch.tensor(scale)).numpy()
    expected = [
        [enlarged(shrunk(channel, scale, antialias=antialias), *size, mode) for channel in image]
        for image in batch.numpy()
    ]
    assert output.shape == batch.shape
    assert np.abs(output - np.clip(np.array(expected), 0.0, 1.0)).max() < 1e-4


@pytest.mark.parametrize("size", [(40, 66), (41, 67), (77, 30)])
def test_the_nearest_pixel_is_opencvs(size: tuple[int, int]) -> None:
    """At half the size, where no quotient is near a whole number by rounding, cv2.INTER_NEAREST repeats the same."""
    batch = to_batch(crop(1, 20, 30, *size))
    small = Resize()(batch, torch.tensor(0.5))[0].permute(1, 2, 0).numpy()
    expected = cv2.resize(small, size[::-1], interpolation=cv2.INTER_NEAREST)
    output = Upscale(mode=NEAREST)(batch, torch.tensor(0.5))[0].permute(1, 2, 0).numpy()
    assert np.array_equal(output, expected)


@pytest.mark.parametrize("antialias", [0.0, 1.0])
def test_the_bilinear_mode_is_resize_restored(antialias: float) -> None:
    """The documented relation of the two defences, to the last bits."""
    batch = to_batch(crop(1, 20, 30, 41, 67))
    scale = torch.tensor(0.37)
    restored = Resize(antialias=antialias, restore=1.0)(batch, scale)
    assert torch.allclose(Upscale(antialias=antialias)(batch, scale), restored, atol=1e-6)


def test_the_modes_are_really_different() -> None:
    """No mode gives another's image, so no test above passes for the wrong one."""
    batch = to_batch(crop(1, 20, 30, 60, 80))
    outputs = [Upscale(mode=mode)(batch, torch.tensor(0.4)) for mode in MODES]
    for first, second in ((0, 1), (1, 2), (0, 2)):
        assert float((outputs[first] - outputs[second]).abs().max()) > 0.02


@pytest.mark.parametrize("variant", Upscale.facts.variants())
def test_scale_one_is_the_identity(variant: dict[str, float]) -> None:
    """Nothing changes where nothing shrinks."""
    batch = to_batch(crop(3, 20, 30, 33, 47))
    assert torch.allclose(Upscale(**variant)(batch, torch.tensor(1.0)), batch, atol=1e-6)


@pytest.mark.parametrize("variant", Upscale.facts.variants())
def test_its_gradient_is_the_derivative(variant: dict[str, float]) -> None:
    """Autograd agrees with finite differences in double precision, where nothing is clipped."""
    image = (torch.rand(1, 3, 7, 9, generator=torch.Generator().manual_seed(1)).double() * 0.4 + 0.3).requires_grad_()
    defence = Upscale(**variant)
    assert torch.autograd.gradcheck(lambda x: defence(x, torch.tensor(0.62)), (image,), fast_mode=True)


def test_a_mode_without_a_graph_is_refused() -> None:
    """The error names the choices."""
    with pytest.raises(ParameterError, match="mode=2: choose from 0, 1, 3"):
        Upscale(mode=2.0)
