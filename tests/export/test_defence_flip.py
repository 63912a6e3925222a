"""The flip defence against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import crop, to_batch

from scoreguard_export.defences.flip import Flip


@settings(max_examples=20, deadline=None)
@given(horizontal=st.booleans(), vertical=st.booleans(), height=st.integers(1, 40), width=st.integers(1, 40))
def test_it_is_numpys_flip(horizontal: bool, vertical: bool, height: int, width: int) -> None:
    """Each combination of switches mirrors exactly those axes."""
    batch = to_batch(crop(0, 7, 9, height, width), crop(1, 7, 9, height, width))
    axes = tuple(axis for axis, on in ((2, vertical), (3, horizontal)) if on)
    result = Flip(horizontal=float(horizontal), vertical=float(vertical))(batch)
    assert np.array_equal(result.numpy(), np.flip(batch.numpy(), axes))


def test_it_flips_both_axes_by_default() -> None:
    """The default is the studies': a turn by 180 degrees."""
    batch = to_batch(crop(2, 7, 9, 13, 22))
    assert np.array_equal(Flip()(batch).numpy(), np.rot90(batch.numpy(), 2, axes=(2, 3)))


@pytest.mark.parametrize("variant", Flip.facts.variants())
def test_twice_is_the_identity_and_the_gradient_flips_with_it(variant: dict[str, float]) -> None:
    """Flipping is its own inverse, and so is its derivative."""
    image = to_batch(crop(3, 7, 9, 13, 22)).requires_grad_()
    defence, weights = Flip(**variant), torch.rand(image.shape)
    output = defence(image)
    (gradient,) = torch.autograd.grad((output * weights).sum(), image)
    assert torch.equal(defence(output), image)
    assert torch.equal(gradient, defence(weights))
