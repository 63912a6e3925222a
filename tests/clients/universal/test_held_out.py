"""A perturbation that was trained on some photographs works on others: the shipped metric `lite` is raised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from photographs import Bytes, crop, to_batch
from scipy.ndimage import gaussian_filter
from tests.clients.attacks.conftest import TorchOracle
from tests.clients.universal.conftest import Train, write_images

from scoreguard_client.attacks.base import Direction
from scoreguard_client.attacks.cumulative_uap import CumulativeUAP
from scoreguard_client.attacks.generative_uap import GenerativeUAP
from scoreguard_client.attacks.momentum_uap import MomentumUAP
from scoreguard_client.attacks.optimized_uap import OptimizedUAP
from scoreguard_client.attacks.universal import UniversalAttack
from scoreguard_export.metrics.catalogue import load_metric

SIZE = 64
LEAST_GAIN = 3.0
"""Points of 100."""


@pytest.fixture(scope="module")
def lite() -> TorchOracle:
    """The shipped metric."""
    metric = load_metric("lite").eval()

    def score(images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = metric(images)
        return scores

    return TorchOracle(function=score)


def blurred(*place: int) -> Bytes:
    """A piece of a photograph, a little out of focus, so that its score can rise as well as fall."""
    return np.asarray(gaussian_filter(crop(*place), sigma=(1, 1, 0)), dtype=np.uint8)


@pytest.mark.parametrize(
    ("kind", "rate"), [(CumulativeUAP, 0.01), (OptimizedUAP, 0.005), (GenerativeUAP, 0.002), (MomentumUAP, 0.01)]
)
@pytest.mark.parametrize("direction", Direction)
def test_a_trained_perturbation_moves_lite_on_photographs_that_it_has_not_seen(
    kind: type[UniversalAttack], rate: float, direction: Direction, lite: TorchOracle, train: Train, tmp_path: Path
) -> None:
    """Trained on crops of two photographs, applied at another size to others; its own values, shuffled, do less."""
    seen = [blurred(photo, 50 * place, 70 * place, SIZE, SIZE) for photo in (0, 1) for place in range(4)]
    folder, out = write_images(tmp_path / "seen", seen), tmp_path / "u.safetensors"
    settings = {"kind": kind.kind.value, "direction": direction.value, "rate": rate, "channels": 8}
    found = train(lite, folder, out, every=100, size=SIZE, batch=4, epochs=10, **settings)
    shuffled = np.random.default_rng(0).permutation(found.values.reshape(-1)).reshape(found.values.shape)
    np.save(tmp_path / "noise.npy", shuffled)
    unseen = to_batch(
        *(blurred(photo, 90 * place, 60 * place, 80, 100) for photo in (2, 3) for place in range(3))
    ).numpy()
    clean, sign = lite.score(unseen), 1 if direction is Direction.UP else -1
    gains = [
        sign * float(np.mean(kind(file=str(file), direction=direction)(unseen, lite).scores - clean))
        for file in (out, tmp_path / "noise.npy")
    ]
    assert gains[0] > LEAST_GAIN
    assert gains[0] > gains[1]
