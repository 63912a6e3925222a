"""The quantise defence against Pillow's posterise and whole-number arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import crop, to_batch, to_levels

from scoreguard_export.defences.quantise import Quantise
from scoreguard_export.errors import ParameterError


def nearest_level(image: np.ndarray, levels: int) -> np.ndarray:
    """Index of the nearest level of 8-bit values, in whole numbers, an exact half to the even one."""
    double = 2 * image.astype(np.int64) * (levels - 1)
    below, rest = np.divmod(double, 510)
    nearest: np.ndarray = below + ((rest > 255) | ((rest == 255) & (below % 2 == 1)))
    return nearest


def quantised(batch: torch.Tensor, levels: float) -> torch.Tensor:
    """Quantise by the defence."""
    output: torch.Tensor = Quantise()(batch, torch.tensor(levels))
    return output


@settings(max_examples=40, deadline=None)
@given(levels=st.integers(2, 256), height=st.integers(1, 60), width=st.integers(1, 60), photo=st.integers(0, 3))
def test_it_takes_the_nearest_level_of_photographs(levels: int, height: int, width: int, photo: int) -> None:
    """Every value is k/(L−1) with the k of whole-number arithmetic."""
    images = [crop(photo, 11, 17, height, width), crop(photo + 1, 3, 5, height, width)]
    output = quantised(to_batch(*images), float(levels)).permute(0, 2, 3, 1).numpy()
    expected = nearest_level(np.stack(images), levels) / (levels - 1)
    assert np.abs(output - expected).max() < 1e-6


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_power_of_two_is_a_bit_depth(bits: int) -> None:
    """2ⁱ levels leave at most 2ⁱ values, spread as i-bit numbers are, and 8 bits change nothing."""
    image = crop(1, 30, 40, 201, 177)
    output = quantised(to_batch(image), float(2**bits))
    assert len(torch.unique(output)) <= 2**bits
    coded = np.round(output.numpy() * (2**bits - 1)).astype(np.int64)
    assert np.abs(coded / (2**bits - 1) - output.numpy()).max() < 1e-6
    if bits == 8:
        assert np.array_equal(to_levels(output)[0], image)


@settings(max_examples=25, deadline=None)
@given(levels=st.integers(2, 256), seed=st.integers(0, 1000))
def test_it_moves_no_value_by_more_than_half_a_step_and_settles_at_once(levels: int, seed: int) -> None:
    """Quantising again changes nothing; black and white stay."""
    image = torch.rand(2, 3, 9, 14, generator=torch.Generator().manual_seed(seed))
    image[0, :, 0, 0], image[0, :, 0, 1] = 0.0, 1.0
    output = quantised(image, float(levels))
    assert float((output - image).abs().max()) <= 0.5 / (levels - 1) + 1e-6
    assert torch.allclose(quantised(output, float(levels)), output, atol=1e-6)
    assert float(output[0, :, 0, 0].max()) == 0.0
    assert float(output[0, :, 0, 1].min()) == 1.0


@pytest.mark.parametrize("levels", [2.0, 16.0, 256.0])
def test_its_gradient_is_the_identitys(levels: float) -> None:
    """The stated straight-through gradient, at every number of levels."""
    image = to_batch(crop(0, 5, 7, 13, 21)).requires_grad_()
    weights = torch.randn(image.shape, generator=torch.Generator().manual_seed(3))
    (gradient,) = torch.autograd.grad((quantised(image, levels) * weights).sum(), image)
    assert torch.allclose(gradient, weights, atol=1e-5)


def test_a_fraction_of_a_level_is_rounded() -> None:
    """15.6 levels are 16."""
    batch = to_batch(crop(2, 5, 7, 13, 21))
    assert torch.equal(quantised(batch, 15.6), quantised(batch, 16.0))


def test_the_levels_are_not_structural() -> None:
    """They are an input of the one graph, so the constructor refuses them."""
    with pytest.raises(ParameterError, match="levels=16: choose from no structural parameter"):
        Quantise(levels=16.0)
