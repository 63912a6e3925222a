"""The sign attacks against foolbox, on the same torch model, with the score itself as the loss."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from tests.clients.attacks.conftest import TorchOracle

from scoreguard_client.attacks import FGSM, IFGSM, MIFGSM
from scoreguard_client.attacks.linf_attack import LInfAttack
from scoreguard_client.attacks.pgd import PGD
from scoreguard_client.oracles.base import Images

EPS, ALPHA, STEPS = 8 / 255, 2 / 255, 9
"""More steps than the ball is wide: the cut to it matters."""


@pytest.fixture(scope="module")
def foolbox() -> Any:
    """The library, where it is installed; importing it warns of what it imports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("foolbox")


class Scorer(torch.nn.Module):
    """A fixed random network with one output for each image, smooth."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(11)
        self.first = torch.randn(6, 3, 3, 3, generator=generator)
        self.second = torch.randn(6, 6, 3, 3, generator=generator) / 3
        self.last = torch.randn(6, generator=generator)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Scores (N, 1), as a classifier's logits."""
        hidden = torch.tanh(torch.nn.functional.conv2d(images, self.first.to(images.dtype)))
        deeper = torch.nn.functional.softplus(torch.nn.functional.conv2d(hidden, self.second.to(images.dtype)))
        return (deeper.mean(dim=(2, 3)) @ self.last.to(images.dtype))[:, None]


def theirs(foolbox: Any, kind: Any, clean: Images, start: Images | None = None, **options: Any) -> Images:
    """What one of foolbox's attacks finds when its loss is the sum of the scores."""

    class Regression(kind):  # type: ignore[misc]
        def get_loss_fn(self, model: Any, labels: Any) -> Any:
            del labels
            return lambda inputs: model(inputs).sum()

        def get_random_start(self, x0: Any, epsilon: float) -> Any:
            del epsilon
            return x0 + type(x0)(torch.from_numpy(start))

    model = foolbox.PyTorchModel(Scorer().eval(), bounds=(0, 1), device="cpu")
    labels = torch.zeros(len(clean), dtype=torch.long)
    found = Regression(**options).run(
        model, torch.from_numpy(clean), foolbox.criteria.Misclassification(labels), epsilon=EPS
    )
    return np.asarray(found.numpy())


def require_same(attack: LInfAttack, clean: Images, wanted: Images) -> None:
    """Equal to rounding, in all but a few values whose gradient has vanished."""
    found = attack(clean, TorchOracle(function=lambda images: Scorer()(images)[:, 0])).attacked
    assert np.mean(np.abs(found - wanted) > 2e-6) < 0.003


def test_fgsm_is_theirs(foolbox: Any, images: Images) -> None:
    """One step of length eps."""
    require_same(FGSM(eps=EPS), images, theirs(foolbox, foolbox.attacks.LinfFastGradientAttack, images))


def test_ifgsm_is_their_basic_iterative_attack(foolbox: Any, images: Images) -> None:
    """No random start."""
    kind = foolbox.attacks.LinfBasicIterativeAttack
    wanted = theirs(foolbox, kind, images, abs_stepsize=ALPHA, steps=STEPS, random_start=False)
    require_same(IFGSM(eps=EPS, alpha=ALPHA, iterations=STEPS), images, wanted)


@pytest.mark.parametrize("nu", [0.5, 1.0])
def test_mifgsm_is_theirs_when_each_gradient_has_length_one(foolbox: Any, nu: float, images: Images) -> None:
    """Theirs accumulates the signs of gradients; given gradients of L1 norm 1 instead, it is Dong et al.'s."""
    module = __import__("foolbox.attacks.mi_fgsm", fromlist=["mi_fgsm"])

    class Normed(module.LinfMomentumIterativeFastGradientMethod):  # type: ignore[misc, name-defined]
        def normalize(self, gradients: Any, *, x: Any, bounds: Any) -> Any:
            del x, bounds
            return gradients / gradients.abs().sum(axis=(1, 2, 3), keepdims=True)

    wanted = theirs(foolbox, Normed, images, momentum=nu, abs_stepsize=ALPHA, steps=STEPS)
    require_same(MIFGSM(eps=EPS, alpha=ALPHA, iterations=STEPS, nu=nu), images, wanted)


def test_pgd_is_theirs_from_the_same_start(foolbox: Any, images: Images) -> None:
    """Ours hands out the best of its steps, so that the score is theirs or higher; the last step is theirs."""
    start = np.stack([np.random.default_rng(seed).uniform(-EPS, EPS, images.shape[1:]) for seed in range(3)])
    kind = foolbox.attacks.LinfProjectedGradientDescentAttack
    wanted = theirs(foolbox, kind, images, start.astype(np.float32), abs_stepsize=ALPHA, steps=STEPS)
    asked: list[Images] = []

    def scored(images: torch.Tensor) -> torch.Tensor:
        asked.append(images.detach().numpy().copy())
        return Scorer().forward(images)[:, 0]

    result = PGD(eps=EPS, alpha=ALPHA, iterations=STEPS, restarts=1)(images, TorchOracle(function=scored))
    assert np.mean(np.abs(asked[STEPS] - wanted) > 2e-6) < 0.003
    assert np.all(result.scores >= TorchOracle(function=scored).score(wanted) - 1e-5)
