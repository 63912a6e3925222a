"""The JPEG defence against Pillow's codec, and its gradient against the codec without rounding."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import crop, pillow_jpeg, to_batch, to_levels
from PIL import Image
from torch import Tensor
from torch.nn import functional

from scoreguard.chain.jpeg import CHROMINANCE_TABLE, LUMINANCE_TABLE
from scoreguard_export.defences.jpeg import Jpeg
from scoreguard_export.defences.jpeg_codec import quantisation_table
from scoreguard_export.errors import ParameterError

QUALITIES = (1, 5, 10, 25, 49, 50, 51, 75, 90, 95, 100)


def coded(image: np.ndarray, quality: float, subsampling: int) -> np.ndarray:
    """Levels that the defence gives for one image."""
    output = Jpeg(subsampling=float(subsampling))(to_batch(image), torch.tensor(float(quality)))
    levels: np.ndarray = to_levels(output)[0]
    return levels


@pytest.mark.parametrize("subsampling", [420, 444])
def test_it_gives_pillows_pixels_on_photographs_of_odd_sizes(subsampling: int) -> None:
    """The numbers of the class docstring: no value of any crop differs from Pillow's decoder output."""
    random = np.random.default_rng(0)
    differing = total = 0
    for quality in QUALITIES:
        for photo in range(4):
            for _ in range(2):
                height, width, top, left = (int(n) for n in random.integers((8, 8, 0, 0), (180, 180, 999, 999)))
                image = crop(photo, top, left, height, width)
                difference = coded(image, quality, subsampling) - pillow_jpeg(image, quality, subsampling)
                differing += int(np.count_nonzero(difference))
                total += difference.size
    print(f"{subsampling}: {differing} of {total} values differ")
    assert total > 1_000_000
    assert differing == 0


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(8, 50),
    width=st.integers(8, 50),
    quality=st.integers(1, 100),
    subsampling=st.sampled_from([420, 444]),
    seed=st.integers(0, 2**16),
)
def test_it_gives_pillows_pixels_on_noise(height: int, width: int, quality: int, subsampling: int, seed: int) -> None:
    """Noise exercises every coefficient and every clamp, at every size from the minimum on."""
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert np.array_equal(coded(image, quality, subsampling), pillow_jpeg(image, quality, subsampling))


def test_its_tables_are_pillows_at_every_quality() -> None:
    """The scaled quantisation tables are those in the header of Pillow's files, for all hundred qualities."""
    image = Image.new("RGB", (8, 8))
    for quality in range(1, 101):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        header = Image.open(file).quantization  # type: ignore[attr-defined]
        for number, base in enumerate((LUMINANCE_TABLE, CHROMINANCE_TABLE)):
            table = quantisation_table(torch.tensor(base, dtype=torch.float64), torch.tensor(float(quality)))
            assert table.flatten().int().tolist() == list(header[number]), quality


def test_each_image_of_a_batch_is_coded_alone() -> None:
    """A batch gives what its images give one by one."""
    images = [crop(photo, 40, 60, 37, 61) for photo in range(3)]
    together = to_levels(Jpeg()(to_batch(*images), torch.tensor(30.0)))
    for image, result in zip(images, together, strict=True):
        assert np.array_equal(result, coded(image, 30, 420))


def test_float_images_are_rounded_to_8_bits_first() -> None:
    """A perturbation of less than half a level changes nothing."""
    batch = to_batch(crop(0, 0, 0, 24, 24))
    quality = torch.tensor(90.0)
    assert torch.equal(Jpeg()(batch + 0.4 / 255.0, quality), Jpeg()(batch, quality))


def unrounded(image: Tensor, subsampling: int) -> Tensor:
    """The codec without rounding and bounds: transform and quantisation cancel, chroma sampling stays."""
    to_components = torch.tensor(
        [[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]]
    ).to(image.dtype)
    to_colour = torch.tensor([[1.0, 0.0, 1.402], [1.0, -0.34414, -0.71414], [1.0, 1.772, 0.0]]).to(image.dtype)
    components = torch.einsum("ij,njhw->nihw", to_components, image)
    if subsampling == 420:
        height, width = image.shape[2:]
        padded = functional.pad(components[:, 1:], (0, width % 2, 0, height % 2), mode="replicate")
        # The triangle filter of the decoder is bilinear interpolation by 2.
        chroma = functional.interpolate(functional.avg_pool2d(padded, 2), scale_factor=2.0, mode="bilinear")
        components = torch.cat([components[:, :1], chroma[:, :, :height, :width]], dim=1)
    return torch.einsum("ij,njhw->nihw", to_colour, components)


@pytest.mark.parametrize("subsampling", [420, 444])
@pytest.mark.parametrize("quality", [1.0, 35.0, 100.0])
def test_its_gradient_is_that_of_the_codec_without_rounding(subsampling: int, quality: float) -> None:
    """The stated straight-through gradient, against finite differences of an independent unrounded codec."""
    generator = torch.Generator().manual_seed(5)
    image = to_batch(crop(1, 70, 90, 19, 27)).double().requires_grad_()
    direction, weights = (torch.randn(image.shape, generator=generator, dtype=torch.float64) for _ in range(2))
    output = Jpeg(subsampling=float(subsampling))(image, torch.tensor(quality))
    (gradient,) = torch.autograd.grad((output * weights).sum(), image)
    ahead, behind = (
        (unrounded(image.detach() + sign * 1e-3 * direction, subsampling) * weights).sum() for sign in (1.0, -1.0)
    )
    expected = float(ahead - behind) / 2e-3
    assert float((gradient * direction).sum()) == pytest.approx(expected, rel=2e-3, abs=2e-2)
    assert float(gradient.norm()) > 1.0


def test_the_gradient_survives_clipped_highlights() -> None:
    """Where rounding noise passes white, the gradient still comes through."""
    image = torch.ones(1, 3, 16, 16)
    image[:, :, 5:9, 3:12] = 0.9
    image.requires_grad_()
    (gradient,) = torch.autograd.grad(Jpeg(subsampling=444.0)(image, torch.tensor(20.0)).sum(), image)
    assert torch.allclose(gradient, torch.ones_like(gradient), atol=1e-2)


def test_a_subsampling_without_a_graph_is_refused() -> None:
    """The error names the choices."""
    with pytest.raises(ParameterError, match="subsampling=422: choose from 420, 444"):
        Jpeg(subsampling=422.0)
