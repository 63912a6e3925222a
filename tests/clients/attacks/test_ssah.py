"""SSAH: its low frequencies against explicit means of 2 x 2 pixels, its loop against one written with torch alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from photographs import crop, to_batch
from tests.clients.attacks.conftest import LinearOracle, TorchOracle

from scoreguard.score_range import ScoreRange
from scoreguard_client.attacks import AttackSpecError, Direction, Mode
from scoreguard_client.attacks.ssah import SSAH, low_frequencies
from scoreguard_client.oracles.base import Images, OracleFacts
from scoreguard_export.metrics.catalogue import load_metric


def smooth(images: torch.Tensor) -> torch.Tensor:
    """A score in (0, 1) with a gradient of the order of 1 everywhere."""
    weights = torch.cos(torch.arange(images[0].numel()) * 0.3).reshape(images.shape[1:]) + 0.2
    return torch.sigmoid((torch.sin(3 * images) * weights).sum(dim=(1, 2, 3)) / 30)


def haar(images: Images) -> Images:
    """Low band of the Haar transform and back, by its matrix: rows (1, 1) / sqrt 2 on pairs; odd sizes padded by 0."""
    height, width = images.shape[2:]
    padded = np.pad(images.astype(np.float64), ((0, 0), (0, 0), (0, height % 2), (0, width % 2)))
    down, aside = (np.kron(np.eye((size + 1) // 2), [[1, 1]]) / np.sqrt(2) for size in (height, width))
    low: Images = down.T @ (down @ padded @ aside.T) @ aside
    return low


@pytest.mark.parametrize("size", [(8, 8), (7, 8), (8, 7), (7, 5), (1, 1)])
def test_the_low_frequencies_are_those_of_the_haar_transform(size: tuple[int, int]) -> None:
    """Also where a side is odd."""
    images = np.random.default_rng(3).random((2, 3, *size), dtype=np.float32)
    np.testing.assert_allclose(low_frequencies(torch.from_numpy(images)).numpy(), haar(images), atol=1e-6)


def reference(clean: Images, *, mode: Mode, lambda_lf: float, lr: float, steps: int) -> Images:
    """The whole loss by autograd, one image at a time."""
    attacked = []
    for image in torch.from_numpy(clean):
        height, width = image.shape[1:]
        bands = [torch.eye((size + 1) // 2).repeat_interleave(2, 1)[:, :size] / 2 for size in (height, width)]
        start = image if mode is Mode.BENCHMARK else torch.atanh(image * (2 - 6e-7) - 1 + 3e-7)
        variable = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([variable], lr=lr)
        for _ in range(steps):
            shown = variable if mode is Mode.BENCHMARK else 0.5 * (torch.tanh(variable) + 1)
            means = bands[0] @ (shown - image) @ bands[1].T
            # Each mean stands for four pixels, and is below 1 in size, where SmoothL1 is half the square.
            loss = 1 - smooth(shown[None])[0] + lambda_lf * 4 * (means**2).sum() / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if mode is Mode.BENCHMARK:
                variable.data.clamp_(0, 1)
        shown = variable if mode is Mode.BENCHMARK else 0.5 * (torch.tanh(variable) + 1)
        attacked.append(shown.detach().numpy())
    return np.stack(attacked)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize(("lambda_lf", "steps"), [(0.0, 9), (0.1, 9), (1.0, 4)])
def test_the_steps_are_those_of_an_independent_loop(mode: Mode, lambda_lf: float, steps: int, images: Images) -> None:
    """The odd size of these images pads them; the padding adds its share to the last row and column.

    Few steps with a heavy weight: there pixels swing about their block's mean, and rounding decides which way first.
    """
    lr = 0.005 if mode is Mode.BENCHMARK else 0.05
    attack = SSAH(mode=mode, lambda_lf=lambda_lf, lr=lr, iterations=steps)
    result = attack(images, TorchOracle(function=smooth))
    wanted = reference(images, mode=mode, lambda_lf=lambda_lf, lr=lr, steps=steps)
    assert np.mean(np.abs(result.attacked - wanted) > 1e-4) < 0.005


class Percent(TorchOracle):
    """A hundred times the score on a range a hundred times as wide."""

    @property
    def facts(self) -> OracleFacts:
        """Range 0 to 100."""
        return replace(super().facts, score_range=ScoreRange(low=0, high=100))


@pytest.mark.parametrize("mode", list(Mode))
def test_the_score_weighs_by_its_share_of_the_range(mode: Mode, images: Images) -> None:
    """In other units the same metric is attacked alike: the low frequencies weigh as much."""
    attack = SSAH(mode=mode, lambda_lf=0.5, iterations=4)
    one = attack(images, TorchOracle(function=smooth))
    hundred = attack(images, Percent(function=lambda batch: 100 * smooth(batch)))
    np.testing.assert_allclose(hundred.attacked, one.attacked, atol=1e-4)


@pytest.mark.parametrize("mode", list(Mode))
def test_the_change_moves_to_the_high_frequencies_with_the_weight(mode: Mode) -> None:
    """The share of the change that lies in the low frequencies falls, and the score still rises."""
    clean = (np.random.default_rng(6).integers(70, 180, (2, 3, 20, 20)) / 255).astype(np.float32)
    oracle = TorchOracle(function=smooth)
    shares = []
    for lambda_lf in (0.0, 20.0):
        result = SSAH(mode=mode, lambda_lf=lambda_lf, iterations=40, lr=0.01)(clean, oracle)
        change = result.attacked - clean
        shares.append(np.abs(haar(change)).mean() / np.abs(change).mean())
        assert np.all(result.scores > oracle.score(clean))
    assert shares[1] < 0.5 * shares[0]


def test_the_papers_variable_slows_down_near_black_and_white() -> None:
    """With the change of variables a step is largest at mid-grey; on pixels it is the same everywhere."""
    clean = np.full((1, 3, 4, 4), 0.5, dtype=np.float32)
    clean[..., 2:] = 0.99
    oracle = LinearOracle(weights=-np.ones(clean.shape[1:], dtype=np.float32))
    moves = {
        mode: clean - SSAH(mode=mode, lambda_lf=0, lr=0.001, iterations=10)(clean, oracle).attacked for mode in Mode
    }
    np.testing.assert_allclose(moves[Mode.BENCHMARK], 0.01, rtol=0.01)
    np.testing.assert_allclose(moves[Mode.PAPER][..., :2], 10 * 0.001 / 2, rtol=0.01)
    np.testing.assert_allclose(moves[Mode.PAPER][..., 2:], 10 * 0.001 * 2 * 0.99 * 0.01, rtol=0.05)


@pytest.mark.parametrize("mode", list(Mode))
def test_lite_sees_more_quality_in_attacked_photographs(mode: Mode) -> None:
    """The shipped metric's score of each photograph rises, and falls where the attack is told to lower it."""
    oracle = TorchOracle(function=load_metric("lite").requires_grad_(False))
    clean = to_batch(crop(1, 150, 200, 48, 51), crop(2, 60, 90, 48, 51)).numpy()
    up, down = (SSAH(mode=mode, iterations=5, direction=way)(clean, oracle) for way in Direction)
    assert np.all(up.scores > oracle.score(clean))
    assert np.all(down.scores < oracle.score(clean))


def test_defaults_follow_the_mode() -> None:
    """150 steps in the authors' code, 10 in the benchmark's; both with lr 0.001 and weight 0.1."""
    assert "lr=0.001:iterations=150:mode=paper:lambda_lf=0.1" in str(SSAH())
    assert "lr=0.001:iterations=10:mode=benchmark:lambda_lf=0.1" in str(SSAH(mode=Mode.BENCHMARK))


@pytest.mark.parametrize("value", [-0.1, float("inf"), float("nan")])
def test_a_weight_that_is_no_weight_is_refused(value: float) -> None:
    """The message names it."""
    with pytest.raises(AttackSpecError, match="lambda_lf"):
        SSAH(lambda_lf=value)
