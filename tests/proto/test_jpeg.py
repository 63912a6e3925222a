"""The codec's numbers against Pillow, and its derivative against the exported graph's module."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from scoreguard.chain.jpeg import TRANSFORM, Codec, from_blocks, repeated, sum_of_squares, to_blocks
from scoreguard_export.defences.jpeg import Jpeg

SIZES = [(64, 48), (37, 51), (8, 9), (33, 17)]
RNG = np.random.default_rng(0)


def smooth_grey(height: int, width: int) -> npt.NDArray[np.uint8]:
    """A grey image whose coded values stay away from 0 and 255, (1, 3, H, W)."""
    rows, columns = np.mgrid[:height, :width]
    plane = 128 + 40 * np.sin(rows / 3 + columns / 5) + RNG.normal(0, 6, (height, width))
    return np.repeat(np.rint(plane)[None, None], 3, axis=1).astype(np.uint8)


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 90, 100])
def test_the_quantisation_tables_are_those_that_pillow_writes(quality: int) -> None:
    """Luminance and chrominance, in the order of the natural, not the zigzag scan."""
    stream = io.BytesIO()
    Image.new("RGB", (16, 16)).save(stream, "JPEG", quality=quality)
    written = Image.open(io.BytesIO(stream.getvalue())).quantization  # type: ignore[attr-defined]
    luminance, blueness, redness = Codec(quality).steps
    assert luminance.tolist() == list(written[0])
    assert blueness.tolist() == redness.tolist() == list(written[1])


@pytest.mark.parametrize("subsampling", [420, 444])
@pytest.mark.parametrize("quality", [30, 75])
def test_the_coefficients_of_what_pillow_decodes_are_the_rounded_ones(quality: int, subsampling: int) -> None:
    """Grey images without clipping: decoding multiplies the whole numbers by their steps and transforms back."""
    levels, codec = smooth_grey(48, 64), Codec(quality, subsampling)
    stream = io.BytesIO()
    image = Image.fromarray(levels[0].transpose(1, 2, 0))
    image.save(stream, "JPEG", quality=quality, subsampling={420: 2, 444: 0}[subsampling])
    decoded = np.asarray(Image.open(io.BytesIO(stream.getvalue()))).transpose(2, 0, 1)[None]
    whole, found = np.rint(codec.coefficients(levels)[0]), codec.coefficients(decoded)[0]
    # libjpeg's transform is in whole numbers, so that a coefficient very near a threshold may pass it.
    assert np.mean(np.rint(found) == whole) > 0.99


@pytest.mark.parametrize("subsampling", [420, 444])
@pytest.mark.parametrize("size", SIZES)
def test_with_slope_1_the_derivative_is_that_of_the_exported_module(subsampling: int, size: tuple[int, int]) -> None:
    """Straight through all rounding, at sizes with and without padding; libjpeg's transform has 13-bit constants."""
    images = (RNG.integers(0, 256, (2, 3, *size)) / 255).astype(np.float32)
    upstream = RNG.normal(size=images.shape).astype(np.float32)
    leaf = torch.from_numpy(images).requires_grad_()
    decoded = Jpeg(subsampling=float(subsampling))(leaf, torch.tensor(50.0))
    (expected,) = torch.autograd.grad((decoded * torch.from_numpy(upstream)).sum(), leaf)
    one = np.ones(1, np.float32)
    found = Codec(50, subsampling).pulled_back(upstream, (one, one, one))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-3)


def test_the_transform_is_orthonormal_and_blocks_go_there_and_back() -> None:
    """What the derivative's transposes rest on."""
    np.testing.assert_allclose(TRANSFORM @ TRANSFORM.T, np.eye(64), atol=1e-6)
    planes = RNG.random((2, 16, 24), dtype=np.float32)
    np.testing.assert_array_equal(from_blocks(to_blocks(planes)), planes)
    np.testing.assert_allclose(sum_of_squares(repeated(planes, 2)), 4 * planes, rtol=1e-6)
