"""Degraded copies: each strength is worse than the last, and the same seed gives the same copy."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from photographs import crop
from PIL import Image

from scoreguard_client.degradations import DEGRADATIONS, DegradationError, ImageArray, degradation, degraded_copies
from scoreguard_client.scores.fidelity import psnr, ssim

PHOTOGRAPHS = {
    "astronaut": crop(0, 0, 0, 192, 256),
    "coffee": crop(1, 100, 150, 192, 256),
    "cat": crop(2, 50, 100, 192, 256),
}


def floats(image: ImageArray) -> ImageArray:
    """In [0, 1]."""
    return image / 255.0


@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
@pytest.mark.parametrize("name", DEGRADATIONS)
def test_each_strength_is_worse_than_the_last_by_ssim_and_by_psnr(name: str, photograph: str) -> None:
    """On photographs, clearly: no step is smaller than 0.005 of SSIM, and the weakest has already done something."""
    image = PHOTOGRAPHS[photograph]
    copies = [floats(copy.image) for copy in degraded_copies(image, [name], seed=1)]
    quality = [1.0, *(ssim(floats(image), copy) for copy in copies)]
    assert len(copies) == len(DEGRADATIONS[name].strengths) >= 4
    assert all(np.diff(quality) < -0.005), quality
    assert all(np.diff([psnr(floats(image), copy) for copy in copies]) < 0)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_8_bit_and_float_images_keep_their_shape_and_type_and_agree(name: str) -> None:
    """The 8-bit copy is the rounded float copy; an odd size and single precision too."""
    image = PHOTOGRAPHS["cat"][:61, :45]
    rounded = DEGRADATIONS[name].apply(image, 3, seed=2)
    single = DEGRADATIONS[name].apply(floats(image).astype(np.float32), 3, seed=2)
    assert rounded.shape == single.shape == image.shape
    assert rounded.dtype == np.uint8
    assert single.dtype == np.float32
    assert single.min() >= 0
    assert single.max() <= 1
    assert np.abs(255.0 * single - rounded).max() <= 0.5 + 1e-3


def test_a_seed_decides_the_noise_and_nothing_else() -> None:
    """Two copies with one seed are equal, with two seeds only the noisy ones differ."""
    image = PHOTOGRAPHS["astronaut"]
    one, again, other = (list(degraded_copies(image, seed=seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(one, again, strict=True))
    differing = {a.degradation for a, b in zip(one, other, strict=True) if not np.array_equal(a.image, b.image)}
    assert differing == {"noise"}
    assert [(copy.degradation, copy.strength) for copy in one] == [
        (name, strength) for name, kind in DEGRADATIONS.items() for strength in range(1, len(kind.strengths) + 1)
    ]


def test_blur_is_opencvs() -> None:
    """A Gaussian of the same width and border, to a thousandth."""
    image = floats(PHOTOGRAPHS["coffee"])
    wanted = cv2.GaussianBlur(image, (33, 33), 2.5, borderType=cv2.BORDER_REFLECT_101)
    assert np.abs(DEGRADATIONS["blur"].apply(image, 3) - wanted).max() < 1e-3


def test_jpeg_is_pillows() -> None:
    """Of the same quality, to the last bit for an 8-bit image."""
    image, file = PHOTOGRAPHS["coffee"], io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=15, subsampling="4:2:0")
    assert np.array_equal(DEGRADATIONS["jpeg"].apply(image, 3), np.asarray(Image.open(file)))


def test_the_others_do_what_their_parameters_say() -> None:
    """Noise has its deviation, contrast its factor, banding its levels; a downscaled copy keeps slow gradients."""
    grey = np.full((128, 128, 3), 0.5)
    assert (DEGRADATIONS["noise"].apply(grey, 2) - grey).std() == pytest.approx(0.06, rel=0.02)
    image = floats(PHOTOGRAPHS["cat"])
    for strength, factor in enumerate(DEGRADATIONS["contrast"].strengths, start=1):
        assert DEGRADATIONS["contrast"].apply(image, strength).std() == pytest.approx(factor * image.std(), rel=0.01)
    for strength, levels in enumerate(DEGRADATIONS["banding"].strengths, start=1):
        ramp = np.repeat(np.linspace(0, 1, 256)[None, :, None], 8, axis=0).repeat(3, axis=2)
        assert len(np.unique(DEGRADATIONS["banding"].apply(ramp, strength))) == levels
    slow = np.repeat(np.linspace(0.2, 0.8, 240)[None, :, None], 60, axis=0).repeat(3, axis=2)
    assert np.abs(DEGRADATIONS["downscale"].apply(slow, 3) - slow)[:, 12:-12].max() < 1e-3


@pytest.mark.parametrize(
    ("image", "strength", "words"),
    [
        (np.zeros((8, 8, 3), np.uint8), 6, "strengths 1 to 5, not 6"),
        (np.zeros((8, 8, 3), np.uint8), 0, "strengths 1 to 5, not 0"),
        (np.zeros((3, 8, 8)), 1, r"\(height, width, 3\), not \(3, 8, 8\)"),
        (np.zeros((8, 8, 3), np.int64), 1, "not int64"),
        (np.full((8, 8, 3), 128.0), 1, "divide 8-bit levels by 255"),
        (np.full((8, 8, 3), np.nan), 1, r"outside \[0, 1\]"),
    ],
)
def test_what_cannot_be_degraded_is_refused_in_one_line(image: ImageArray, strength: int, words: str) -> None:
    """Strengths that there are not, images of another layout or type, values out of range."""
    with pytest.raises(DegradationError, match=words) as caught:
        degradation("blur").apply(image, strength)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_lists_the_near_ones() -> None:
    """As every catalogue here does."""
    with pytest.raises(DegradationError, match=r"unknown degradation 'blurr'.*blur"):
        degradation("blurr")
