"""Small metrics whose optimum is known, as oracles, and pictures to attack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.clients.attacks.vgg import write_weights

from scoreguard.v1.spec import Step
from scoreguard_client.oracles.base import Gradients, Images, OracleFacts, Scores


@dataclass(kw_only=True)
class LinearOracle:
    """score = <weights, picture>; the best picture in a box takes the box's corner along sign(weights)."""

    weights: Images
    higher_is_better: bool = True
    chain: tuple[Step, ...] = ()
    calls: int = 0
    seen: list[Images] = field(default_factory=list)

    @property
    def facts(self) -> OracleFacts:
        """Range 0 to 1."""
        return OracleFacts(
            metric="linear", range_low=0, range_high=1, higher_is_better=self.higher_is_better, chain=self.chain
        )

    def score(self, images: Images) -> Scores:
        """The inner product."""
        self.calls += 1
        self.seen.append(images.copy())
        products = images.astype(np.float64) * self.weights.astype(np.float64)
        return np.asarray(products.sum(axis=(1, 2, 3)))

    def gradient(self, images: Images) -> tuple[Scores, Gradients]:
        """The weights."""
        return self.score(images), np.broadcast_to(self.weights, images.shape).copy()


@dataclass(kw_only=True)
class TorchOracle:
    """Any torch function of a batch, differentiated by autograd."""

    function: Callable[[torch.Tensor], torch.Tensor]
    higher_is_better: bool = True
    chain: tuple[Step, ...] = ()

    @property
    def facts(self) -> OracleFacts:
        """Range 0 to 1."""
        return OracleFacts(
            metric="torch", range_low=0, range_high=1, higher_is_better=self.higher_is_better, chain=self.chain
        )

    def score(self, images: Images) -> Scores:
        """The function's value."""
        return self.function(torch.from_numpy(images)).detach().numpy().astype(np.float64)

    def gradient(self, images: Images) -> tuple[Scores, Gradients]:
        """Value and derivative."""
        pictures = torch.from_numpy(images).clone().requires_grad_()
        scores = self.function(pictures)
        (gradient,) = torch.autograd.grad(scores.sum(), pictures)
        return scores.detach().numpy().astype(np.float64), gradient.numpy()


@dataclass(kw_only=True)
class ScoreOnly:
    """Hides the gradient of another oracle."""

    inner: LinearOracle

    @property
    def facts(self) -> OracleFacts:
        """Those of the other."""
        return self.inner.facts

    def score(self, images: Images) -> Scores:
        """That of the other."""
        return self.inner.score(images)


@dataclass(frozen=True)
class ConstantOracle:
    """One score for every picture."""

    value: float

    @property
    def facts(self) -> OracleFacts:
        """Range 0 to 10."""
        return OracleFacts(metric="constant", range_low=0, range_high=10)

    def score(self, images: Images) -> Scores:
        """The value."""
        return np.full(len(images), self.value)


@pytest.fixture
def pictures() -> Images:
    """Three 8-bit pictures, 17 x 23, with values at both ends of the range."""
    levels = np.random.default_rng(1).integers(0, 256, (3, 3, 17, 23))
    levels[:, :, 0, :] = 0
    levels[:, :, 1, :] = 255
    return (levels / 255).astype(np.float32)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of VGG16, LPIPS and DISTS."""
    return write_weights(tmp_path_factory.mktemp("weights"))
