"""Korhonen: its map against OpenCV, its loop against one written with torch alone, its end and its budget."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from photographs import crop, to_batch
from tests.clients.attacks.conftest import LinearOracle, TorchOracle

from scoreguard_client.attacks import AttackSpecError, Direction, Mode
from scoreguard_client.attacks.korhonen import Korhonen, activity_map
from scoreguard_client.oracles.base import Images, Scores
from scoreguard_export.metrics.catalogue import load_metric

DISC = np.array([[0, 1, 1, 1, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [0, 1, 1, 1, 0]], dtype=np.uint8)


def smooth(images: torch.Tensor) -> torch.Tensor:
    """A score in (0, 1) whose gradient vanishes nowhere for long."""
    weights = torch.sin(torch.arange(images[0].numel()) * 0.7).reshape(images.shape[1:]) + 1.3
    return torch.sigmoid((images**2 * weights).mean(dim=(1, 2, 3)))


def opencv_map(image: Images, mode: Mode) -> npt.NDArray[np.float32]:
    """The map of one image (3, H, W) by OpenCV's Sobel filter and dilation."""
    luma = cv2.cvtColor(image.transpose(1, 2, 0), cv2.COLOR_RGB2YCrCb)[..., 0]
    across = cv2.Sobel(luma, cv2.CV_32F, 1, 0, ksize=3, borderType=cv2.BORDER_REFLECT)
    down = cv2.Sobel(luma, cv2.CV_32F, 0, 1, ksize=3, borderType=cv2.BORDER_REFLECT)
    activity = across**2 + down**2 if mode is Mode.PAPER else across
    inner = np.zeros_like(activity)
    inner[1:-1, 1:-1] = activity[1:-1, 1:-1]
    dilated = cv2.dilate(inner / inner.max(), DISC).astype(np.float32)
    return dilated if mode is Mode.PAPER else dilated / np.float32(255)


@pytest.mark.parametrize("mode", list(Mode))
def test_the_map_is_the_one_that_opencv_computes(mode: Mode, images: Images) -> None:
    """Luma, Sobel, border, peak and dilation, each image by itself."""
    found = activity_map(images, mode)
    assert found.shape == (3, 1, 17, 23)
    for one, image in zip(found, images, strict=True):
        np.testing.assert_allclose(one[0], opencv_map(image, mode), atol=1e-5)


def test_the_map_of_an_edge_spreads_two_pixels_and_no_corner() -> None:
    """One bright pixel: the map reaches 3 pixels up, down and aside, and its outer corners stay 0."""
    clean = np.zeros((1, 3, 11, 11), dtype=np.float32)
    clean[:, :, 5, 5] = 1
    found = activity_map(clean, Mode.PAPER)[0, 0]
    assert found[5, 2] == found[2, 5] > 0
    assert found[2, 2] == found[8, 8] == found[1, 5] == 0


@pytest.mark.parametrize(("mode", "value"), [(Mode.PAPER, 1), (Mode.BENCHMARK, 1 / 255)])
@pytest.mark.parametrize("size", [(9, 9), (2, 2), (1, 1)])
def test_a_flat_or_tiny_image_has_the_same_weight_everywhere(mode: Mode, value: float, size: tuple[int, int]) -> None:
    """Nothing is divided by a peak of 0."""
    np.testing.assert_allclose(activity_map(np.full((1, 3, *size), 0.5, dtype=np.float32), mode), value, rtol=1e-6)


def test_the_modes_see_different_edges(images: Images) -> None:
    """The paper's map is never negative and sees edges of both directions; the benchmark's is signed and one-way."""
    rows = np.broadcast_to(np.linspace(0, 1, 9, dtype=np.float32)[:, None] ** 2, (1, 3, 9, 9)).copy()
    assert np.ptp(activity_map(rows, Mode.PAPER)) > 0.5
    np.testing.assert_allclose(activity_map(rows, Mode.BENCHMARK), 1 / 255, rtol=1e-6)
    columns = np.broadcast_to(1 - np.linspace(0, 1, 9, dtype=np.float32) ** 2, (1, 3, 9, 9)).copy()
    columns[..., 7] = 0.9
    assert activity_map(columns, Mode.BENCHMARK).min() < 0 <= activity_map(columns, Mode.PAPER).min()


def reference(clean: Images, *, mode: Mode, lr: float, steps: int) -> Images:
    """Adam written out by its formulas, one image at a time; the best image in paper mode, else the last."""
    attacked = []
    for start in clean:
        weight = torch.from_numpy(opencv_map(start, mode))
        image = torch.from_numpy(start)
        first, second = torch.zeros_like(image), torch.zeros_like(image)
        seen: list[tuple[float, torch.Tensor]] = []
        for step in range(1, steps + 1):
            point = image.clone().requires_grad_()
            loss = 1 - smooth(point[None])[0]
            (gradient,) = torch.autograd.grad(loss, point)
            seen.append((loss.item(), image))
            gradient = gradient * (weight if mode is Mode.BENCHMARK else 1)
            first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
            move = lr * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
            image = (image - move * (weight if mode is Mode.PAPER else 1)).clamp(0, 1)
        seen.append(((1 - smooth(image[None])[0]).item(), image))
        attacked.append(min(seen, key=lambda pair: pair[0])[1] if mode is Mode.PAPER else image)
    return np.stack([image.numpy() for image in attacked])


@pytest.mark.parametrize(("mode", "steps"), [(Mode.PAPER, 12), (Mode.BENCHMARK, 10)])
def test_the_steps_are_those_of_an_independent_adam(mode: Mode, steps: int, images: Images) -> None:
    """The map weights the step in paper mode and the gradient in the benchmark's."""
    result = Korhonen(mode=mode, lr=0.005, iterations=steps)(images, TorchOracle(function=smooth))
    wanted = reference(images, mode=mode, lr=0.005, steps=steps)
    assert np.mean(np.abs(result.attacked - wanted) > 1e-4) < 0.005


def test_the_amplitude_follows_the_map_in_paper_mode_and_not_in_the_benchmarks() -> None:
    """With a constant gradient Adam steps by lr everywhere; only the paper's mode scales that by the map."""
    clean = (np.random.default_rng(4).integers(60, 190, (1, 3, 16, 16)) / 255).astype(np.float32)
    clean[..., :8] = clean[..., :8] * 0.1 + 0.4
    oracle = LinearOracle(weights=np.ones(clean.shape[1:], dtype=np.float32))
    paper = np.abs(Korhonen(lr=0.005, iterations=10)(clean, oracle).attacked - clean).mean(axis=1)
    benchmark = np.abs(Korhonen(mode=Mode.BENCHMARK)(clean, oracle).attacked - clean).mean(axis=1)
    np.testing.assert_allclose(paper, 10 * 0.005 * activity_map(clean, Mode.PAPER)[:, 0], atol=1e-4)
    moved = np.abs(activity_map(clean, Mode.BENCHMARK)[:, 0]) > 0
    np.testing.assert_allclose(benchmark[moved], 10 * 0.005, atol=1e-4)


class Peaked(LinearOracle):
    """Each image's score grows with every question up to the question named in `peaks`, and falls from then on."""

    peaks: Scores = np.zeros(0)

    def score(self, images: Images) -> Scores:
        """The score of this question."""
        self.calls += 1
        self.seen.append(images.copy())
        return np.where(self.calls <= self.peaks, self.calls, 2 * self.peaks - self.calls).astype(np.float64)


def test_a_search_without_progress_ends_and_hands_out_its_best() -> None:
    """20 steps at least, then 2 steps in a row that found nothing better; each image by itself."""
    clean = np.full((2, 3, 6, 6), 0.5, dtype=np.float32)
    oracle = Peaked(weights=np.ones(clean.shape[1:], dtype=np.float32))
    oracle.peaks = np.array([5, 40])
    result = Korhonen(lr=0.001)(clean, oracle)
    assert oracle.calls == 42
    np.testing.assert_array_equal(result.scores, [5, 40])
    np.testing.assert_allclose(result.attacked[0], 0.5 + 4 * 0.001, atol=1e-5)
    np.testing.assert_allclose(result.attacked[1], 0.5 + 39 * 0.001, atol=1e-5)
    assert all(np.array_equal(seen[0], oracle.seen[20][0]) for seen in oracle.seen[20:])


@pytest.mark.parametrize("mode", list(Mode))
def test_lite_sees_more_quality_in_attacked_photographs(mode: Mode) -> None:
    """The shipped metric's score of each photograph rises, and falls where the attack is told to lower it."""
    oracle = TorchOracle(function=load_metric("lite").requires_grad_(False))
    clean = to_batch(crop(1, 150, 200, 48, 51), crop(2, 60, 90, 48, 51)).numpy()
    up, down = (Korhonen(mode=mode, iterations=5, direction=way)(clean, oracle) for way in Direction)
    assert np.all(up.scores > oracle.score(clean))
    assert np.all(down.scores < oracle.score(clean))


def test_defaults_follow_the_mode_and_stand_in_the_text_form() -> None:
    """The paper's 100 steps of 0.5/255, the benchmark's 10 of 0.005."""
    assert (Korhonen().iterations, Korhonen().lr) == (100, 0.5 / 255)
    assert "lr=0.005:iterations=10:mode=benchmark" in str(Korhonen(mode=Mode.BENCHMARK))
    assert Korhonen(mode=Mode.BENCHMARK, lr=0.25).lr == 0.25


@pytest.mark.parametrize("wrong", [{"lr": -1.0}, {"lr": 2.0}, {"iterations": -1}, {"least": -1}, {"patience": 0}])
def test_parameters_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    """Each with its name."""
    with pytest.raises(AttackSpecError, match=next(iter(wrong))):
        Korhonen(**wrong)  # type: ignore[arg-type]
