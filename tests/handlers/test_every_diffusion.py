"""What holds of the diffusion purifiers as they are served: samplers, their parameters, and what follows the sample."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from google.rpc import code_pb2
from served import SEED, SERVED, Floats, Served, photo_like, planes, purify_item

from scoreguard_export.defences.catalogue import CATALOGUE
from scoreguard_export.defences.unsharp import Unsharp

SIZE = (41, 53)
DIFFUSIONS = [name for name in SERVED if CATALOGUE[name].schedule({})]


@pytest.mark.parametrize("name", DIFFUSIONS)
@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("t=151", "t=151 (step 1) is out of range: 1 to 150 with this denoiser"),
        ("t=0", "t=0 (step 1) is out of range: a whole number, 1 to 1000"),
        ("t=2.5", "t=2.5 (step 1) is out of range: a whole number, 1 to 1000"),
        ("steps=-1", "steps=-1 (step 1) is out of range: a whole number, 0 to 1000"),
    ],
)
def test_a_step_beyond_the_denoiser_is_refused(served: Served, name: str, setting: str, problem: str) -> None:
    """The parameter and its range are named, and the image beside it is purified."""
    image = photo_like(9, 9)
    bad, good = served.answers(purify_item(image, f"{name}:{setting}", SEED), purify_item(image, f"{name}:t=1", SEED))
    assert bad.status.code == code_pb2.INVALID_ARGUMENT
    assert f"{name}:{problem}" in bad.status.message
    assert good.WhichOneof("result") == "purify"


def test_the_last_step_of_the_schedule_works(served: Served) -> None:
    """As far as the denoiser was trained, and no further."""
    purified = served.purify(photo_like(9, 9), "diffpure:t=150:steps=2")
    assert np.isfinite(purified).all()
    assert {len(served.artifact(name).facts.diffusion.alpha_bar) for name in DIFFUSIONS} == {150}


@pytest.mark.parametrize("name", DIFFUSIONS)
def test_more_steps_than_t_are_t(served: Served, name: str) -> None:
    """The fast sampler cannot take more; with fewer, or as the ancestral one, it gives another image."""
    image = photo_like(*SIZE)
    four, many, three, ancestral = (served.purify(image, f"{name}:t=4:steps={steps}") for steps in (4, 1000, 3, 0))
    assert np.array_equal(four, many)
    assert not np.array_equal(four, three)
    assert not np.array_equal(four, ancestral)


def sobel(image: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Strength of edges by OpenCV: 1 beside a step from black to white."""
    luma = image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    across, down = (cv2.Sobel(luma, cv2.CV_64F, *order, ksize=3, borderType=cv2.BORDER_REPLICATE) for order in _ORDERS)
    return np.asarray(np.hypot(across, down) / 4.0)


_ORDERS = ((1, 0), (0, 1))


@pytest.mark.parametrize("threshold", [0.05, 0.1, 0.2])
def test_exactly_the_pixels_of_edges_are_kept(served: Served, threshold: float) -> None:
    """Where OpenCV's Sobel exceeds the threshold the image is untouched; elsewhere it is the sample."""
    image = photo_like(*SIZE)
    joined = served.purify(image, f"diffpure-edge:threshold={threshold}")
    sampled = np.clip(served.purify(image, "diffpure"), 0.0, 1.0)
    strength = sobel(image)
    kept, left = strength > threshold + 1e-5, strength < threshold - 1e-5
    assert 0.01 < kept.mean() < 0.98
    assert np.array_equal(joined[kept], image[kept])
    assert np.array_equal(joined[left], sampled[left])
    assert (np.abs(sampled - image).max(axis=2)[kept] > 0).mean() > 0.9


@pytest.mark.parametrize(("sigma", "amount"), [(1.0, 1.0), (0.0, 2.0)])
def test_the_unsharp_finish_is_the_unsharp_mask_alone(served: Served, sigma: float, amount: float) -> None:
    """The same sample, sharpened by `unsharp:blur_first=0`."""
    image = photo_like(*SIZE)
    given = served.purify(image, f"diffpure-unsharp:sigma={sigma}:amount={amount}")
    sampled = torch.from_numpy(planes(served.purify(image, "diffpure")))
    with torch.no_grad():
        expected = Unsharp(blur_first=0.0)(sampled, torch.tensor(sigma), torch.tensor(amount))[0].permute(1, 2, 0)
    assert np.abs(given - expected.numpy()).max() <= 5e-5
    assert np.abs(given - sampled[0].permute(1, 2, 0).numpy()).max() > 1e-3
