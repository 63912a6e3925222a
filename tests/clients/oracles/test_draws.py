"""The number of draws that a gradient needs, on noise that is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pytest
from tests.clients.oracles.toy_archive import write_archive

from scoreguard.score_range import ScoreRange
from scoreguard.v1.spec import parse_chain
from scoreguard_client.oracles import LocalOracle
from scoreguard_client.oracles.base import DrawingOracle, Gradients, Images, OracleFacts, Scores
from scoreguard_client.oracles.draws import MOST, PROBES, draws_needed

SHAPE = (3, 20, 30)


@dataclass(kw_only=True)
class Noisy:
    """A gradient of length 1 plus Gaussian noise whose length is each image's brightness times ten."""

    draws: int | Sequence[int] = 1
    random: bool = True
    calls: int = 0

    @property
    def facts(self) -> OracleFacts:
        """A range of 0 to 1."""
        return OracleFacts(metric="noisy", score_range=ScoreRange(low=0, high=1), random=self.random)

    @property
    def last_calls(self) -> npt.NDArray[np.int64]:
        """Two for each image: each call was sent again once."""
        return np.full(3, 2)

    def with_draws(self, draws: int | Sequence[int]) -> Self:
        """Another number of draws."""
        return replace(self, draws=draws)

    def score(self, images: Images) -> Scores:
        """Nothing of interest."""
        return np.zeros(len(images))

    def gradient(self, images: Images) -> tuple[Scores, Gradients]:
        """One draw."""
        assert self.draws == 1
        self.calls += 1
        size = int(np.prod(SHAPE))
        noise = np.random.default_rng(self.calls).normal(size=images.shape) / np.sqrt(size)
        lengths = 10 * images.mean(axis=(1, 2, 3), keepdims=True)
        return self.score(images), (np.full(images.shape, size**-0.5) + lengths * noise).astype(np.float32)


def images_of(*levels: float) -> Images:
    """Flat images."""
    return np.stack([np.full(SHAPE, level, dtype=np.float32) for level in levels])


def test_each_image_gets_the_draws_that_bring_its_own_error_below_the_tolerance() -> None:
    """Noise of length 0.1, 1 and 2 beside a signal of 1: 1, 4 and 16 draws for half of the signal; each by itself."""
    found = draws_needed(Noisy(), images_of(0.01, 0.1, 0.2), tolerance=0.5)
    assert found.draws[0] == 1
    assert found.draws[1] == pytest.approx(4, abs=1)
    assert found.draws[2] == pytest.approx(16, abs=3)
    assert found.calls == (2 * PROBES,) * 3


def test_a_finer_tolerance_needs_more_draws_by_its_square() -> None:
    """A quarter of the signal in place of half: four times as many, up to the most."""
    fine = draws_needed(Noisy(), images_of(0.05, 0.1, 0.2), tolerance=0.25)
    assert fine.draws[0] == pytest.approx(4, abs=1)
    assert fine.draws[1] == pytest.approx(16, abs=3)
    assert fine.draws[2] == MOST


def test_a_drowned_signal_takes_the_most_and_a_flat_one_takes_one() -> None:
    """Where the mean is shorter than its own error nothing else is known; without noise one draw is enough."""
    assert draws_needed(Noisy(), images_of(1.0, 1.0, 1.0), most=7).draws == (7, 7, 7)
    assert draws_needed(Noisy(), images_of(0.0, 0.0, 0.0)).draws == (1, 1, 1)


def test_a_chain_that_draws_nothing_is_not_asked() -> None:
    """One draw, no call."""
    oracle = Noisy(random=False)
    assert draws_needed(oracle, images_of(1.0, 1.0, 1.0)).draws == (1, 1, 1)
    assert oracle.calls == 0


def test_an_archive_behind_noise_is_asked_with_a_number_of_draws_for_each_image(tmp_path: Path) -> None:
    """The stronger the noise the more draws; the cost is counted image by image; an answer does not see the batch."""
    archive = write_archive(tmp_path / "energy")
    images = np.stack([np.full((3, 7, 10), level, dtype=np.float32) for level in (0.05, 0.9)])
    oracle = LocalOracle(archive, parse_chain("noise:sigma=0.2"), seed=[5, 6])
    assert isinstance(oracle, DrawingOracle)
    needed = draws_needed(oracle, images)
    assert needed.draws[0] > needed.draws[1] == 1
    chosen = oracle.with_draws(needed.draws)
    scores, gradient = chosen.gradient(images)
    assert chosen.last_calls.tolist() == list(needed.draws)
    assert chosen.facts.calls_per_question == needed.draws[0]
    alone = oracle.with_draws(needed.draws[1]).with_seed([6]).gradient(images[1:])
    np.testing.assert_array_equal(scores[1:], alone[0])
    np.testing.assert_array_equal(gradient[1:], alone[1])


def test_a_fixed_chain_keeps_one_draw(tmp_path: Path) -> None:
    """Its answers are all the same."""
    oracle = LocalOracle(write_archive(tmp_path / "energy"), parse_chain("scale"))
    assert oracle.with_draws(9).facts.calls_per_question == 1


@pytest.mark.parametrize("wrong", [0, [1, 0]])
def test_a_number_of_draws_below_one_is_refused(wrong: int | list[int], tmp_path: Path) -> None:
    """When it is given."""
    oracle = LocalOracle(write_archive(tmp_path / "energy"), parse_chain("noise"))
    with pytest.raises(ValueError, match="at least 1"):
        oracle.with_draws(wrong)
