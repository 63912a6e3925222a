"""An attack of an image does not depend on the images attacked beside it: the whole catalogue, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tests.clients.attacks.conftest import TorchOracle
from tests.clients.attacks.short import AS_PUBLISHED, COMPANIONS, ONE_STEP, SEARCHES, TRAINED, attack_of

from scoreguard_client.attacks import Attack, parse_attack
from scoreguard_client.oracles.base import Gradients, Images, OracleFacts, Scores

ON_VGG16 = ["zhang-lpips:iterations=2", "zhang-dists:iterations=2"]
"""Their convolutions run on several threads, and have given another last bit for the same image: rarely."""


@pytest.fixture(autouse=True)
def several_threads() -> Iterator[None]:
    """Sums are split by threads: with one there would be nothing to find."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@dataclass(kw_only=True)
class OneByOne:
    """Another oracle that is asked about one image at a time: its own arithmetic cannot see the batch."""

    inner: TorchOracle

    @property
    def facts(self) -> OracleFacts:
        """Those of the other."""
        return self.inner.facts

    def score(self, images: Images) -> Scores:
        """Those of the other."""
        return np.concatenate([self.inner.score(image[None].copy()) for image in images])

    def gradient(self, images: Images) -> tuple[Scores, Gradients]:
        """Those of the other."""
        answers = [self.inner.gradient(image[None].copy()) for image in images]
        return np.concatenate([scores for scores, _ in answers]), np.concatenate([slope for _, slope in answers])


def curved() -> OneByOne:
    """A score whose gradient has values of every size, so that a last bit is soon a sign."""

    def score(images: torch.Tensor) -> torch.Tensor:
        weights = torch.cos(torch.arange(images[0].numel()) * 0.3).reshape(images.shape[1:]) + 0.2
        wavy = torch.sin(9 * images) * weights + 0.3 * (images * images.roll(1, dims=3)).sin()
        return torch.sigmoid(3 * wavy.mean(dim=(1, 2, 3)))

    return OneByOne(inner=TorchOracle(function=score))


def images_of(height: int, width: int) -> Images:
    """Four 8-bit images; their numbers of values are no multiples of a vector's length."""
    levels = np.random.default_rng(1).integers(0, 256, (4, 3, height, width))
    return (levels / 255).astype(np.float32)


@pytest.fixture(scope="module")
def perturbation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A perturbation of 8 x 8 pixels."""
    path = tmp_path_factory.mktemp("uap") / "any.npy"
    np.save(path, np.random.default_rng(2).uniform(-0.1, 0.1, (3, 8, 8)).astype(np.float32))
    return path


def require_the_same_in_every_batch(attack: Attack, images: Images) -> None:
    """Alone, in threes, and in another order, the image and its score are the same bits."""
    oracle, seeds = curved(), [7, 8, 9, 10]
    whole = attack(images, oracle, seeds=seeds, companions=COMPANIONS)
    for places in ([0], [1], [3], [1, 2, 3], [3, 0, 2, 1]):
        part = attack(images[places], oracle, seeds=[seeds[place] for place in places], companions=COMPANIONS)
        require_equal_bits(part.attacked, whole.attacked[places])
        require_equal_bits(part.scores, whole.scores[places])
        np.testing.assert_array_equal(part.attacked_8bit, whole.attacked_8bit[places])


def require_equal_bits(found: npt.NDArray[np.floating], wanted: npt.NDArray[np.floating]) -> None:
    """Not even the sign of a zero differs."""
    assert found.tobytes() == np.ascontiguousarray(wanted).tobytes()


@pytest.mark.parametrize("text", [text for text in SEARCHES + ONE_STEP + AS_PUBLISHED if text not in ON_VGG16])
def test_the_last_bit_of_an_attack_does_not_depend_on_its_batch(text: str, folder: Path) -> None:
    """Batches of one, three and four, and another order; the metric itself is asked image by image."""
    require_the_same_in_every_batch(attack_of(text, folder), images_of(29, 31))


@pytest.mark.parametrize("text", ON_VGG16)
def test_an_attack_on_the_features_of_a_network_does_not_depend_on_its_batch(text: str, folder: Path) -> None:
    """But for last bits: an image moves by a thousandth of a level on average at most."""
    attack, images, oracle = attack_of(text, folder), images_of(29, 31), curved()
    whole = attack(images, oracle, seeds=[7, 8, 9, 10]).attacked
    for places in ([0], [1, 2, 3], [3, 0, 2, 1]):
        part = attack(images[places], oracle, seeds=[[7, 8, 9, 10][place] for place in places]).attacked
        assert np.abs(part - whole[places]).mean(axis=(1, 2, 3)).max() < 1e-3 / 255
    assert np.abs(whole - images).mean() > 1e-3  # it is an attack


@pytest.mark.parametrize("name", TRAINED)
def test_a_trained_perturbation_is_added_alike_in_every_batch(name: str, perturbation: Path) -> None:
    """To the last bit."""
    require_the_same_in_every_batch(parse_attack(f"{name}:file={perturbation}"), images_of(29, 31))
