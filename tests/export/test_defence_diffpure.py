"""DiffPure against samplers written from their papers in NumPy, in another parameterisation, around the same network.

The reference never sees a denoiser: its network gives ε_θ(x_t, t) of images in [−1, 1], which is all that Ho et al.
2020 and Song et al. 2021 ask for. Their x_0 is bounded by images, as in the published code of both.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from photographs import crop, to_batch
from torch import Tensor

from scoreguard.chain.sampling import step_noise
from scoreguard_export.defences import denoiser_net
from scoreguard_export.defences.denoiser import Denoiser
from scoreguard_export.defences.diffpure import DiffPure, DiffPureEdge, DiffPureUnsharp
from scoreguard_export.defences.diffpure_finish import EdgeFinish, UnsharpFinish

Array = npt.NDArray[np.float64]
BETA = np.concatenate([[0.0], np.linspace(1e-4, 0.02, 1000)])
"""β_t at place t (Ho et al. 2020, section 4)."""
ALPHA_BAR = np.cumprod(1.0 - BETA)
SEEDS = (4, 9)


@pytest.fixture(scope="module")
def purifier() -> DiffPure:
    """A narrow network of random weights in double precision; its estimates are bad, and differ everywhere."""
    torch.manual_seed(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(denoiser_net, "WIDTHS", (8, 12, 16))
        denoiser = Denoiser().double()
    with torch.no_grad():
        for weight in denoiser.parameters():
            weight.mul_(1.5).add_(0.01 * torch.randn_like(weight))
        denoiser.network.get_parameter("tail.weight").mul_(30.0)
    return DiffPure(denoiser=denoiser.requires_grad_(False)).eval()


def sample_image(height: int = 13, width: int = 18) -> Tensor:
    """Two photographs' corners, (2, 3, H, W), in double precision."""
    return to_batch(crop(0, 30, 50, height, width), crop(1, 3, 5, height, width)).double()


def predicted_noise(purifier: DiffPure, state: Array, step: int) -> Array:
    """ε_θ(x_t, t): what of x_t is noise, given that the rest is an image."""
    deviation = np.sqrt((1.0 - ALPHA_BAR[step]) / ALPHA_BAR[step]) / 2.0
    scaled = (state / np.sqrt(ALPHA_BAR[step]) + 1.0) / 2.0
    network: Any = purifier.denoiser.network
    noise = network.noise(torch.from_numpy(scaled), torch.tensor(deviation)).numpy()
    estimate = np.clip(scaled - deviation * noise, 0.0, 1.0) * 2.0 - 1.0
    return np.asarray((state - np.sqrt(ALPHA_BAR[step]) * estimate) / np.sqrt(1.0 - ALPHA_BAR[step]))


def noised(image: Tensor, level: int, drawn: list[Array]) -> Array:
    """x_t (Ho et al. 2020, eq. 4)."""
    start = 2.0 * image.numpy() - 1.0
    return np.asarray(np.sqrt(ALPHA_BAR[level]) * start + np.sqrt(1.0 - ALPHA_BAR[level]) * drawn[0])


def ancestral(purifier: DiffPure, image: Tensor, level: int) -> Array:
    """Algorithm 2 of Ho et al. 2020 from step t: the mean is eq. 11, the variance β̃_t of eq. 7."""
    drawn = numbers(image, level)
    state = noised(image, level, drawn)
    for t in range(level, 0, -1):
        noise = predicted_noise(purifier, state, t)
        mean = (state - BETA[t] / np.sqrt(1.0 - ALPHA_BAR[t]) * noise) / np.sqrt(1.0 - BETA[t])
        variance = (1.0 - ALPHA_BAR[t - 1]) / (1.0 - ALPHA_BAR[t]) * BETA[t]
        state = mean + np.sqrt(variance) * drawn[t]
    return np.asarray((state + 1.0) / 2.0)


def implicit(purifier: DiffPure, image: Tensor, visited: list[int]) -> Array:
    """Song et al. 2021, eq. 12 with σ = 0, over the steps given."""
    state = noised(image, visited[0], numbers(image, 0))
    for t, s in pairwise(visited):
        noise = predicted_noise(purifier, state, t)
        clean = (state - np.sqrt(1.0 - ALPHA_BAR[t]) * noise) / np.sqrt(ALPHA_BAR[t])
        state = np.sqrt(ALPHA_BAR[s]) * clean + np.sqrt(1.0 - ALPHA_BAR[s]) * noise
    return np.asarray((state + 1.0) / 2.0)


def numbers(image: Tensor, level: int) -> list[Array]:
    """The noise of the way forth and of each step, by the rule that server and client share."""
    return [step_noise(tuple(image.shape), SEEDS, 0, index).astype(np.float64) for index in range(level + 1)]


def purified(purifier: DiffPure, image: Tensor, level: int, steps: int) -> Array:
    """What the defence gives."""
    values: Array = purifier(image, torch.tensor(level), torch.tensor(steps), seeds=SEEDS).numpy()
    return values


@pytest.mark.parametrize("level", [1, 5, 30])
def test_the_ancestral_sampler_is_that_of_the_paper(purifier: DiffPure, level: int) -> None:
    """With the same noise, t calls of the network give the same image; most of its pixels are within bounds."""
    image = sample_image()
    expected = ancestral(purifier, image, level)
    assert np.abs(purified(purifier, image, level, 0) - expected).max() < 1e-6
    assert ((expected > 0.0) & (expected < 1.0)).mean() > 0.5
    assert np.abs(expected - image.numpy()).max() > 1e-3


@pytest.mark.parametrize("visited", [[1, 0], [5, 0], [5, 4, 3, 2, 1, 0], [30, 20, 10, 0], [150, 75, 0]])
def test_the_fast_sampler_is_that_of_the_paper(purifier: DiffPure, visited: list[int]) -> None:
    """From one call of the network to as many as there are steps."""
    image = sample_image()
    expected = implicit(purifier, image, visited)
    assert np.abs(purified(purifier, image, visited[0], len(visited) - 1) - expected).max() < 1e-6


def test_more_steps_than_t_are_t(purifier: DiffPure) -> None:
    """As on the server."""
    image = sample_image(5, 6)
    assert np.array_equal(purified(purifier, image, 4, 1000), purified(purifier, image, 4, 4))


@pytest.mark.parametrize(
    ("kind", "finish", "others"), [(DiffPureEdge, EdgeFinish, [0.1]), (DiffPureUnsharp, UnsharpFinish, [1.0, 2.0])]
)
def test_the_finish_follows_the_sample(
    purifier: DiffPure, kind: type[DiffPure], finish: type[EdgeFinish | UnsharpFinish], others: list[float]
) -> None:
    """The module is the sampler, then the graph beside it, with the parameters that the sampler does not take."""
    image, values = sample_image(), [torch.tensor(value) for value in others]
    whole = kind(denoiser=purifier.denoiser)(image, torch.tensor(5), torch.tensor(2), *values, seeds=SEEDS)
    sampled = torch.from_numpy(purified(purifier, image, 5, 2))
    assert torch.equal(whole, finish()(image, *values, sampled))
    assert not torch.equal(whole, sampled.clamp(0.0, 1.0))


@pytest.mark.parametrize(("level", "steps"), [(30, 0), (30, 1), (30, 3)])
def test_the_shipped_weights_purify(level: int, steps: int) -> None:
    """A photograph with noise of σ_t comes out closer to the clean one than it went in, though more noise was added."""
    clean = to_batch(crop(0, 60, 150, 32, 40), crop(1, 100, 200, 32, 40))
    deviation = float(np.sqrt((1.0 - ALPHA_BAR[level]) / ALPHA_BAR[level]) / 2.0)
    noisy = clean + deviation * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    result = DiffPure.from_weights({})(noisy, torch.tensor(level), torch.tensor(steps), seeds=SEEDS)
    before, after = ((values - clean).square().mean(dim=(1, 2, 3)) for values in (noisy, result))
    assert bool((after < 0.85 * before).all())
