"""Training crops against cv2, slices and what the two readings say."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.clients.universal.conftest import write_images

from scoreguard_client import ImageError
from scoreguard_client.oracles.base import Images
from scoreguard_client.target.images import find_images
from scoreguard_client.universal.crops import TrainingImages, crop, window

SIZE = 16


def image(height: int, width: int) -> np.ndarray:
    """Random levels."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def centre(levels: np.ndarray) -> Images:
    """The middle of an image by slicing."""
    top, left = (levels.shape[0] - SIZE) // 2, (levels.shape[1] - SIZE) // 2
    cut = levels[top : top + SIZE, left : left + SIZE].astype(np.float32) / np.float32(255)
    return cut.transpose(2, 0, 1)[None]


@pytest.mark.parametrize("shape", [(16, 16), (17, 40), (31, 100), (32, 32), (33, 47)])
def test_the_paper_cuts_the_centre_out_of_every_image_that_is_large_enough(shape: tuple[int, int]) -> None:
    """No resizing."""
    np.testing.assert_array_equal(crop(image(*shape), SIZE), centre(image(*shape)))


@pytest.mark.parametrize(("shape", "cut"), [((32, 32), True), ((33, 47), True), ((31, 100), False), ((16, 16), True)])
def test_the_benchmark_cuts_only_where_half_the_image_is_large_enough(shape: tuple[int, int], cut: bool) -> None:
    """512 for 256: smaller images are squeezed, which leaves one of the right size as it is."""
    found = crop(image(*shape), SIZE, benchmark=True)
    assert found.shape == (1, 3, SIZE, SIZE)
    assert np.array_equal(found, centre(image(*shape))) is cut


def ramps(height: int, width: int) -> np.ndarray:
    """Red grows downwards and green to the right, each over the whole range."""
    rows, columns = np.mgrid[0:height, 0:width]
    levels = np.stack([rows * 255 / (height - 1), columns * 255 / (width - 1), np.full_like(rows, 128)], axis=2)
    rounded: np.ndarray = np.rint(levels).astype(np.uint8)
    return rounded


def test_only_the_benchmark_ignores_the_aspect() -> None:
    """Of a wide image that is too small, the paper keeps the middle and the benchmark all."""
    paper, benchmark = crop(ramps(8, 24), SIZE), crop(ramps(8, 24), SIZE, benchmark=True)
    assert paper[0, 1].min() > 0.25
    assert paper[0, 1].max() < 0.75
    assert benchmark[0, 1].min() < 0.05
    assert benchmark[0, 1].max() > 0.95
    for found in (paper, benchmark):
        assert found[0, 0].min() < 0.05
        assert found[0, 0].max() > 0.95


@pytest.mark.parametrize(("shape", "benchmark"), [((8, 8), False), ((8, 8), True), ((8, 12), True), ((5, 7), True)])
def test_enlarging_is_bilinear(shape: tuple[int, int], benchmark: bool) -> None:
    """As OpenCV does it; without antialiasing, which enlarging has no use for."""
    levels = image(*shape)
    wanted = cv2.resize(levels.astype(np.float32) / 255, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(
        crop(levels, SIZE, benchmark=benchmark)[0], np.clip(wanted, 0, 1).transpose(2, 0, 1), atol=1e-5
    )


@pytest.mark.parametrize("shape", [(16, 16), (19, 23), (40, 17)])
def test_a_window_is_a_piece_of_the_image_or_its_mirror_image(shape: tuple[int, int]) -> None:
    """At every place that there is, with both senses, and none between the pixels; the same seed cuts the same."""
    levels = image(*shape)
    height, width = shape[0] - SIZE + 1, shape[1] - SIZE + 1
    pieces = {}
    for top, left in np.ndindex(height, width):
        piece = (levels[top : top + SIZE, left : left + SIZE] / np.float32(255)).transpose(2, 0, 1)[None]
        for flipped in (False, True):
            bits = np.ascontiguousarray(piece[..., ::-1] if flipped else piece).tobytes()
            pieces[bits] = (top, left, flipped)
    rng = np.random.default_rng(4)
    found = [pieces[np.ascontiguousarray(window(levels, SIZE, rng)).tobytes()] for _ in range(40 * height * width)]
    assert len(set(found)) == 2 * height * width
    again = np.random.default_rng(4)
    assert pieces[np.ascontiguousarray(window(levels, SIZE, again)).tobytes()] == found[0]


def test_an_image_that_is_smaller_than_a_window_is_enlarged_first() -> None:
    """As for the centre."""
    wide = crop(ramps(8, 24), SIZE)
    found = window(ramps(8, 24), SIZE, np.random.default_rng(0))
    assert found.shape == (1, 3, SIZE, SIZE)
    np.testing.assert_allclose(np.sort(found[0, 0], axis=0), np.sort(wide[0, 0], axis=0), atol=1e-6)


def test_float_images_keep_their_values() -> None:
    """16-bit files are not rounded to 8 bits."""
    values = np.random.default_rng(1).random((SIZE, SIZE, 3), dtype=np.float32)
    np.testing.assert_array_equal(crop(values, SIZE)[0], values.transpose(2, 0, 1))


def test_the_images_of_a_step_are_read_in_its_order(tmp_path: Path) -> None:
    """Sizes may differ; an image that was changed since is refused; the digest depends on every image."""
    folder = write_images(tmp_path / "p", [image(16, 16), image(40, 20), image(9, 30)])
    images = TrainingImages(folder=folder, references=find_images(folder).images)
    found = images.crops([1, 0], SIZE, benchmark=False)
    np.testing.assert_array_equal(found, np.concatenate([centre(image(40, 20)), centre(image(16, 16))]))
    fewer = TrainingImages(folder=folder, references=find_images(folder, 2).images)
    assert fewer.sha256 != images.sha256
    write_images(folder, [image(17, 16)])
    with pytest.raises(ImageError, match="was changed"):
        images.crops([0], SIZE, benchmark=False)
