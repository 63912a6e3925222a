"""Gradients in the place of a step's own: the value is the step's to the last bit, whatever the image."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from scoreguard.chain.bpda import pass_identity

EIGHT_BIT = arrays(np.uint8, (1, 3, 5, 6)).map(lambda levels: torch.from_numpy(levels.astype(np.float32) / 255))
"""Images as a decoder gives them, float32 in [0, 1]."""
SHIFTS = st.floats(-2, 2, width=32)


@given(images=EIGHT_BIT, purified=EIGHT_BIT, shift=SHIFTS)
@settings(deadline=None)
def test_the_value_is_the_purified_image_to_the_last_bit(images: Tensor, purified: Tensor, shift: float) -> None:
    """Purified values may lie between the levels, and beyond the range."""
    settled = purified * 0.7 + shift
    passed = pass_identity(images.requires_grad_(), settled)
    assert passed.numpy(force=True).tobytes() == settled.numpy().tobytes()


def test_the_usual_sum_is_not_exact() -> None:
    """Why there is a function at all: images + (purified - images) is another number where both are rounded."""
    levels = torch.arange(256) / 255
    images, purified = torch.meshgrid(levels, 0.7 * levels, indexing="ij")
    assert not torch.equal(images + (purified - images), purified)
    assert torch.equal(pass_identity(images, purified), purified)


@given(images=EIGHT_BIT, upstream=arrays(np.float32, (1, 3, 5, 6), elements=st.floats(-1e6, 1e6, width=32)))
@settings(deadline=None)
def test_the_gradient_passes_as_it_is(
    images: Tensor, upstream: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> None:
    """Every bit of what comes from above goes to the image."""
    leaf = images.requires_grad_()
    passed = pass_identity(leaf, torch.round(leaf.detach() * 3) / 3)
    (gradient,) = torch.autograd.grad(passed, leaf, torch.from_numpy(upstream))
    assert gradient.numpy().tobytes() == upstream.tobytes()
