"""The unsharp defence against its composition from OpenCV's blur."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photographs import crop, to_batch

from scoreguard_export.defences.unsharp import Unsharp
from scoreguard_export.errors import ParameterError


def opencv(batch: torch.Tensor, kernel: int, sigma: float, amount: float, *, blur_first: bool) -> np.ndarray:
    """Blur if asked to, sharpen by a weighted sum, and clip, by OpenCV in float."""
    results = []
    for image in batch.permute(0, 2, 3, 1).numpy():
        start = cv2.GaussianBlur(image, (kernel, kernel), sigma) if blur_first else image
        soft = cv2.GaussianBlur(start, (kernel, kernel), sigma)
        results.append(cv2.addWeighted(start, 1.0 + amount, soft, -amount, 0.0))
    clipped: np.ndarray = np.clip(np.stack(results), 0.0, 1.0)
    return clipped


def sharpened(batch: torch.Tensor, sigma: float, amount: float, **structural: float) -> torch.Tensor:
    """Sharpen by the defence."""
    output: torch.Tensor = Unsharp(**structural)(batch, torch.tensor(sigma), torch.tensor(amount))
    return output


@settings(max_examples=40, deadline=None)
@given(
    kernel=st.sampled_from([3, 5, 7]),
    blur_first=st.booleans(),
    sigma=st.floats(0.1, 10.0),
    amount=st.floats(0.0, 5.0),
    height=st.integers(4, 60),
    width=st.integers(4, 60),
    photo=st.integers(0, 3),
)
def test_it_is_opencvs_blur_and_weighted_sum(
    kernel: int, blur_first: bool, sigma: float, amount: float, height: int, width: int, photo: int
) -> None:
    """Both meanings, every kernel, sigma, amount and size, clipped where sharpening overshoots."""
    batch = to_batch(crop(photo, 11, 17, height, width), crop(photo + 1, 3, 5, height, width))
    output = sharpened(batch, sigma, amount, kernel=float(kernel), blur_first=float(blur_first))
    expected = opencv(batch, kernel, sigma, amount, blur_first=blur_first)
    assert np.abs(output.permute(0, 2, 3, 1).numpy() - expected).max() < 1e-5


def test_sharpening_alone_amplifies_noise_and_the_default_does_not() -> None:
    """The two meanings of the name are opposite for a perturbation: why the switch exists."""
    noise = torch.randn(1, 3, 40, 52, generator=torch.Generator().manual_seed(2)) * 0.02
    flat = torch.full_like(noise, 0.5)
    assert float((sharpened(flat + noise, 1.0, 1.0) - flat).std()) < 0.8 * float(noise.std())
    assert float((sharpened(flat + noise, 1.0, 1.0, blur_first=0.0) - flat).std()) > 1.5 * float(noise.std())


def test_no_amount_leaves_the_image_or_its_blur() -> None:
    """With amount 0 the benchmark's variant is the identity, and the study's is the blur."""
    batch = to_batch(crop(0, 5, 7, 21, 34))
    assert torch.equal(sharpened(batch, 1.0, 0.0, blur_first=0.0), batch)
    blurred = cv2.GaussianBlur(batch[0].permute(1, 2, 0).numpy(), (3, 3), 1.0)
    assert np.abs(sharpened(batch, 1.0, 0.0)[0].permute(1, 2, 0).numpy() - blurred).max() < 1e-5


@pytest.mark.parametrize("variant", Unsharp.facts.variants())
def test_its_gradient_is_the_derivative(variant: dict[str, float]) -> None:
    """Autograd agrees with finite differences in double precision, where nothing is clipped."""
    image = (torch.rand(1, 3, 7, 8, generator=torch.Generator().manual_seed(1)).double() * 0.2 + 0.4).requires_grad_()
    defence = Unsharp(**variant)
    scalars = torch.tensor(1.3), torch.tensor(0.8)
    assert torch.autograd.gradcheck(lambda x: defence(x, *scalars), (image,), fast_mode=True)


@pytest.mark.parametrize(("blur_first", "overshoot"), [(0.0, 12), (1.0, 13)])
def test_white_keeps_its_gradient_and_an_overshoot_has_none(blur_first: float, overshoot: int) -> None:
    """Rounding at the bound does not stop the gradient; really leaving the range does, as a clip should.

    A blurred edge overshoots one column further in.
    """
    image = torch.ones(1, 3, 24, 24, requires_grad=True)
    (gradient,) = torch.autograd.grad(sharpened(image, 1.0, 1.0, blur_first=blur_first).sum(), image)
    assert float(gradient.sum()) == pytest.approx(3 * 24 * 24, rel=1e-4)
    step = torch.zeros(1, 3, 24, 24)
    step[:, :, :, 12:] = 1.0
    step.requires_grad_()
    output = sharpened(step, 1.0, 5.0, blur_first=blur_first)
    (gradient,) = torch.autograd.grad(output[:, :, :, overshoot].sum(), step)
    assert float(output[:, :, :, overshoot].detach().min()) == 1.0
    assert float(gradient.abs().max()) == 0.0


def test_a_kernel_without_a_graph_is_refused() -> None:
    """The error names the choices."""
    with pytest.raises(ParameterError, match="kernel=4: choose from 3, 5, 7"):
        Unsharp(kernel=4.0)
