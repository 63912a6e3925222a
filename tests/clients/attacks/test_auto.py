"""The ensemble: the strongest member for each image, and flags where the evaluation looks doubtful."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.clients.attacks.conftest import LinearOracle, TorchOracle
from tests.clients.oracles.toy_archive import write_archive

from scoreguard.v1.spec import parse_chain
from scoreguard_client.attacks.auto import Auto
from scoreguard_client.oracles import LocalOracle
from scoreguard_client.oracles.base import Gradients, Images, OracleFacts, Scores
from scoreguard_client.oracles.draws import PROBES, draws_needed

EPS = 8 / 255
SHORT = Auto(eps=EPS, iterations=9, pushes=4, queries=40)


def weights(shape: tuple[int, ...]) -> Images:
    """Weights of both signs, small enough that scores stay in the range 0 to 1."""
    return (np.random.default_rng(0).normal(size=shape) / np.prod(shape) / 4).astype(np.float32)


class Honest(LinearOracle):
    """A linear score around one half."""

    def score(self, images: Images) -> Scores:
        """Half of the range more."""
        return super().score(images) + 0.5


class Masked(Honest):
    """Its gradient is zero everywhere."""

    def gradient(self, images: Images) -> tuple[Scores, Gradients]:
        """Zero."""
        return self.score(images), np.zeros_like(images)


@dataclass(kw_only=True)
class OnlyOnceHonest(Honest):
    """Its gradient leads upwards at the clean image alone, and downwards everywhere else."""

    clean: Images = field(default_factory=lambda: np.zeros(0, np.float32))

    def gradient(self, images: Images) -> tuple[Scores, Gradients]:
        """True at one place."""
        scores, gradient = super().gradient(images)
        return scores, gradient if np.array_equal(images, self.clean) else -gradient


@dataclass(kw_only=True)
class Noisy(Honest):
    """A random score."""

    draws: int = 1

    @property
    def facts(self) -> OracleFacts:
        """Each question costs the draws."""
        return replace(super().facts, calls_per_question=self.draws)

    def score(self, images: Images) -> Scores:
        """Never the same twice."""
        return super().score(images) + 1e-3 * np.random.default_rng(self.calls).normal(size=len(images))


def test_no_member_alone_does_better(images: Images) -> None:
    """For each image the ensemble is as good as the best of its members, which are not the same for all."""

    def bumpy(images: torch.Tensor) -> torch.Tensor:
        return 0.5 + (torch.sin(9 * images) * torch.cos(23 * images.flip(3))).mean(dim=(1, 2, 3)) / 4

    oracle = TorchOracle(function=bumpy)
    result = SHORT(images, oracle)
    alone = np.stack([member(images, oracle).scores for member in SHORT.members_for(())])
    np.testing.assert_allclose(result.scores, alone.max(axis=0), rtol=1e-6)
    np.testing.assert_allclose(result.scores, oracle.score(result.attacked), rtol=1e-6)


@pytest.mark.parametrize(
    ("chain", "pushes"),
    [
        ("none", False),
        ("jpeg:quality=50:subsampling=4:2:0", True),
        ("quantise:levels=16", True),
        ("blur:kernel=3", False),
    ],
)
def test_the_members_suit_the_chain(chain: str, pushes: bool, images: Images) -> None:
    """Pushes over thresholds belong to it where the chain begins with rounding, and it is as good as they are."""
    steps = parse_chain(chain)
    members = SHORT.members_for(steps)
    assert ("dct-threshold" in [member.name for member in members]) == pushes
    assert sum(member.queries_needed for member in members) <= SHORT.queries_needed

    def stepped(images: torch.Tensor) -> torch.Tensor:
        whole = torch.round(images * 15) / 15
        return 0.5 + (whole + (images - images.detach())).mul(wave).mean(dim=(1, 2, 3)) / 4

    wave = torch.sin(torch.arange(images[0].size) * 0.7).reshape(images.shape[1:])
    oracle = TorchOracle(function=stepped, chain=steps)
    result = SHORT(images, oracle)
    alone = np.stack([member(images, oracle).scores for member in members])
    np.testing.assert_allclose(result.scores, alone.max(axis=0), rtol=1e-6)


def test_an_honest_linear_score_is_driven_to_its_optimum_without_a_flag(images: Images) -> None:
    """The optimum is the corner of the box."""
    oracle = Honest(weights=weights(images.shape[1:]))
    result = SHORT(images, oracle)
    corner = np.clip(images + EPS * np.sign(oracle.weights), 0, 1).astype(np.float32)
    np.testing.assert_allclose(result.scores, oracle.score(corner), atol=1e-5)
    assert result.flags == ("", "", "")


def test_a_masked_gradient_is_flagged_and_random_search_still_found_something(images: Images) -> None:
    """Zero gradients and a black-box attack that wins."""
    oracle = Masked(weights=weights(images.shape[1:]))
    result = SHORT(images, oracle)
    assert result.flags == ("zero-gradient,black-box-wins",) * 3
    assert np.all(result.scores > oracle.score(images))


def test_a_gradient_that_misleads_after_one_step_is_flagged(images: Images) -> None:
    """FGSM beats what iterates."""
    oracle = OnlyOnceHonest(weights=weights(images.shape[1:]), clean=images)
    assert SHORT(images, oracle).flags == ("one-step-wins",) * 3


def test_a_random_score_is_flagged_unless_it_is_averaged_over_draws(images: Images) -> None:
    """One draw for each question says little."""
    one = Noisy(weights=weights(images.shape[1:]))
    assert all("one-draw" in flags for flags in SHORT(images, one).flags)
    several = Noisy(weights=weights(images.shape[1:]), draws=5)
    attack = replace(SHORT, queries=200)
    assert not any("one-draw" in flags for flags in attack(images, several).flags)


def test_every_flag_that_is_raised_has_words_for_a_reader(images: Images) -> None:
    """The report takes them from the attack."""
    slopes = weights(images.shape[1:])
    oracles = (Masked(weights=slopes), OnlyOnceHonest(weights=slopes, clean=images), Noisy(weights=slopes))
    raised = {flag for oracle in oracles for flags in SHORT(images, oracle).flags for flag in flags.split(",")}
    assert raised >= {"zero-gradient", "black-box-wins", "one-step-wins", "one-draw"}
    assert raised - {""} <= set(Auto.flag_meanings)


def test_a_score_outside_the_declared_range_is_flagged(images: Images) -> None:
    """The base does it for every attack."""
    oracle = LinearOracle(weights=10 * np.ones(images.shape[1:], dtype=np.float32))
    assert SHORT(images, oracle).flags == ("out-of-range",) * 3


def test_every_call_of_every_member_is_counted(images: Images) -> None:
    """The sum over members, one more score for each, and what the flags ask."""
    oracle = Honest(weights=weights(images.shape[1:]))
    result = SHORT(images, oracle)
    assert result.queries.tolist() == [oracle.calls] * 3
    assert oracle.calls <= SHORT.queries_needed
    assert len(result.trace) == oracle.calls


def test_behind_noise_it_takes_as_many_draws_as_the_gradient_needs(tmp_path: Path) -> None:
    """Each image its own number, the probes are calls too, and a number that the caller chose is kept."""
    archive = write_archive(tmp_path / "energy")
    images = np.stack([np.full((3, 7, 10), level, dtype=np.float32) for level in (0.05, 0.9)])
    oracle = LocalOracle(archive, parse_chain("noise:sigma=0.2"), seed=[5, 6])
    needed = draws_needed(oracle, images)
    assert needed.draws[0] > needed.draws[1]
    settled = SHORT(images, oracle.with_seed([5, 6]))
    assert settled.queries[0] > settled.queries[1] > PROBES
    chosen = SHORT(images, oracle.with_seed([5, 6]).with_draws(2))
    assert chosen.queries[0] == chosen.queries[1]
    assert not any("one-draw" in flags for flags in (*settled.flags, *chosen.flags))
