"""Small metrics whose optimum is known, as oracles, and images to attack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.clients.attacks.vgg import write_weights

from scoreguard.score_range import ScoreRange
from scoreguard.v1.spec import Step
from scoreguard_client.oracles.base import Gradients, Images, OracleFacts, Scores
from scoreguard_client.testing.oracles import ConstantOracle, LinearOracle, ScoreOnly
from scoreguard_client.testing.trials import images_of

__all__ = ["ConstantOracle", "LinearOracle", "ScoreOnly", "TorchOracle"]


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
            metric="torch",
            score_range=ScoreRange(low=0, high=1, higher_is_better=self.higher_is_better),
            chain=self.chain,
        )

    def score(self, images: Images) -> Scores:
        """The function's value."""
        return self.function(torch.from_numpy(images)).detach().numpy().astype(np.float64)

    def gradient(self, images: Images) -> tuple[Scores, Gradients]:
        """Value and derivative."""
        leaf = torch.from_numpy(images).clone().requires_grad_()
        scores = self.function(leaf)
        (gradient,) = torch.autograd.grad(scores.sum(), leaf)
        return scores.detach().numpy().astype(np.float64), gradient.numpy()


@pytest.fixture
def images() -> Images:
    """Three 8-bit images, 17 x 23, with values at both ends of the range."""
    return images_of(3, 17, 23)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of VGG16, LPIPS and DISTS."""
    return write_weights(tmp_path_factory.mktemp("weights"))
