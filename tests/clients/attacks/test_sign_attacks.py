"""FGSM, I-FGSM and MI-FGSM against known optima and an independent loop written with torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tests.clients.attacks.conftest import LinearOracle, TorchOracle

from scoreguard_client.attacks import FGSM, IFGSM, MIFGSM, Mode
from scoreguard_client.attacks.linf_attack import LInfAttack
from scoreguard_client.oracles.base import Images

Function = Callable[[torch.Tensor], torch.Tensor]
TOLERANCE = 1e-6


def quadratic(images: torch.Tensor) -> torch.Tensor:
    """A score with its peak inside the range, so that gradients change sign on the way."""
    centre = torch.linspace(0.2, 0.8, images[0].numel()).reshape(images.shape[1:])
    return 1 - ((images - centre) ** 2).mean(dim=(1, 2, 3))


def small_network(images: torch.Tensor) -> torch.Tensor:
    """A fixed random convolutional network, smooth."""
    generator = torch.Generator().manual_seed(3)
    first = torch.randn(4, 3, 3, 3, generator=generator)
    second = torch.randn(4, generator=generator)
    features = torch.tanh(torch.nn.functional.conv2d(images, first)).mean(dim=(2, 3))
    return features @ second


def reference(
    function: Function, clean: Images, *, eps: float, alpha: float, steps: int, nu: float, mode: str
) -> Images:
    """The iterated sign attacks as their descriptions say, one image at a time, in torch."""
    attacked = []
    for image in torch.from_numpy(clean).double():
        perturbation, direction = torch.zeros_like(image), torch.zeros_like(image)
        for _ in range(steps):
            point = (image + perturbation).clamp(0, 1).requires_grad_()
            (gradient,) = torch.autograd.grad(function(point[None].float()).sum(), point)
            if mode == "paper":
                norm = gradient.abs().sum()
                gradient = gradient / norm
            direction = nu * direction + gradient
            perturbation = (perturbation + alpha * direction.sign()).clamp(-eps, eps)
            if mode == "paper":
                perturbation = (image + perturbation).clamp(0, 1) - image
        attacked.append((image + perturbation).clamp(0, 1).float().numpy())
    return np.stack(attacked)


@pytest.mark.parametrize("attack", [FGSM(), IFGSM(), MIFGSM(), IFGSM(mode=Mode.BENCHMARK)], ids=str)
@pytest.mark.parametrize("higher_is_better", [True, False])
def test_a_linear_score_is_driven_to_the_corner_of_its_box(
    attack: LInfAttack, higher_is_better: bool, images: Images
) -> None:
    """The optimum is clip(x + eps sign(w)); where low is good the other corner is taken."""
    weights = np.random.default_rng(2).normal(size=images.shape[1:]).astype(np.float32)
    sign = 1 if higher_is_better else -1
    best = np.clip(images + sign * attack.eps * np.sign(weights), 0, 1)
    oracle = LinearOracle(weights=weights, higher_is_better=higher_is_better)
    result = attack(images, oracle)
    np.testing.assert_allclose(result.attacked, best, atol=TOLERANCE)
    np.testing.assert_allclose(result.scores, oracle.score(result.attacked))


@pytest.mark.parametrize("function", [quadratic, small_network])
@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize(("alpha", "steps"), [(1 / 255, 10), (4 / 255, 7)])
@pytest.mark.parametrize("nu", [0.0, 1.0, 0.5])
def test_iterated_attacks_do_what_an_independent_loop_does(
    function: Function, mode: Mode, alpha: float, steps: int, nu: float, images: Images
) -> None:
    """I-FGSM (nu = 0) and MI-FGSM end where the loop above ends, in all but a few pixels of vanishing gradient."""
    attack: LInfAttack = (
        MIFGSM(alpha=alpha, iterations=steps, nu=nu, mode=mode)
        if nu
        else IFGSM(alpha=alpha, iterations=steps, mode=mode)
    )
    result = attack(images, TorchOracle(function=function))
    wanted = reference(function, images, eps=attack.eps, alpha=alpha, steps=steps, nu=nu, mode=mode.value)
    assert np.mean(np.abs(result.attacked - wanted) > TOLERANCE) < 0.002


def test_fgsm_does_what_an_independent_step_does(images: Images) -> None:
    """One step of the reference loop of length eps is FGSM."""
    result = FGSM(eps=0.05)(images, TorchOracle(function=small_network))
    wanted = reference(small_network, images, eps=0.05, alpha=0.05, steps=1, nu=0, mode="benchmark")
    np.testing.assert_allclose(result.attacked, wanted, atol=TOLERANCE)


def test_the_modes_of_ifgsm_differ_where_a_pixel_is_driven_beyond_the_range() -> None:
    """The benchmark keeps the excess beyond 1 and needs as many steps back; the paper's clip forgets it."""
    clean = np.full((1, 3, 1, 1), 1.0, dtype=np.float32)
    turns = iter([1.0, 1.0, -1.0])

    class Turning(LinearOracle):
        def gradient(self, images: Images) -> tuple[np.ndarray, np.ndarray]:
            return np.zeros(1), np.full_like(images, next(turns))

        def score(self, images: Images) -> np.ndarray:
            return np.zeros(len(images))

    oracle = Turning(weights=clean[0])
    paper = IFGSM(alpha=0.01, iterations=3)(clean, oracle)
    turns = iter([1.0, 1.0, -1.0])
    benchmark = IFGSM(alpha=0.01, iterations=3, mode=Mode.BENCHMARK)(clean, oracle)
    np.testing.assert_allclose(paper.attacked, 0.99, atol=TOLERANCE)
    np.testing.assert_allclose(benchmark.attacked, 1.0, atol=TOLERANCE)


def test_a_zero_gradient_leaves_the_image_as_it_is(images: Images) -> None:
    """Dividing by the L1 norm of a vanishing gradient gives no NaN."""
    result = MIFGSM()(images, LinearOracle(weights=np.zeros(images.shape[1:], dtype=np.float32)))
    np.testing.assert_array_equal(result.attacked, images)
