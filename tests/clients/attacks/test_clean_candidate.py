"""No search hands out an image worse than the one that it was given: the whole catalogue, on scores that only fall."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.clients.attacks.conftest import ScoreOnly, TorchOracle
from tests.clients.attacks.short import (
    AS_PUBLISHED,
    CHAINED,
    COMPANIONS,
    EDITS,
    ONE_STEP,
    SEARCHES,
    TRAINED,
    attack_of,
    names_listed,
)

from scoreguard.v1.spec import parse_chain
from scoreguard_client.attacks import CATALOGUE, Needs, parse_attack
from scoreguard_client.attacks.clean_candidate import JUDGING_CALLS
from scoreguard_client.oracles.base import Images, OracleFacts, Scores
from scoreguard_client.testing.oracles import PeakOracle


@dataclass(kw_only=True)
class NoisyPeak(PeakOracle):
    """Any change costs 0.02, behind a random defence of some draws a question."""

    draws: int = 1

    @property
    def facts(self) -> OracleFacts:
        """A question costs its draws."""
        return replace(super().facts, random=True, calls_per_question=self.draws)

    def score(self, images: Images) -> Scores:
        """Never the same twice: a deviation of 0.01."""
        changed = super().score(images) < 0
        drawn = np.random.default_rng(self.calls).normal(size=(self.draws, len(images))).mean(axis=0)
        return np.asarray(0.01 * drawn - 0.02 * changed)


def hostile(images: Images) -> PeakOracle:
    """Its gradient leads away from the clean images."""
    weights = np.random.default_rng(3).normal(size=images.shape[1:]).astype(np.float32)
    return PeakOracle(clean=images, weights=weights)


def test_every_attack_of_the_catalogue_is_a_search_or_declared_as_one_that_may_end_lower() -> None:
    """A new attack must be put on one of the lists."""
    assert names_listed() == set(CATALOGUE)


@pytest.mark.parametrize(("text", "chain"), [*((text, "none") for text in SEARCHES), *CHAINED.items()])
def test_no_search_ends_below_the_clean_image(text: str, chain: str, images: Images, folder: Path) -> None:
    """Where every change lowers the score the clean image is handed out, bit for bit, with its own score."""
    large = np.ascontiguousarray(np.tile(images, (1, 1, 2, 2)))
    attack = attack_of(text, folder)
    assert attack.keeps_clean
    result = attack(large, replace(hostile(large), chain=parse_chain(chain)), companions=COMPANIONS)
    np.testing.assert_array_equal(result.attacked, large)
    np.testing.assert_array_equal(result.scores, 0)


@pytest.mark.parametrize("text", ONE_STEP)
def test_a_single_step_may_end_lower_and_says_so(text: str, images: Images) -> None:
    """One step is what these methods are."""
    attack = parse_attack(text)
    assert not attack.keeps_clean
    assert np.all(attack(images, hostile(images)).scores < 0)


@pytest.mark.parametrize("name", TRAINED)
def test_a_trained_perturbation_says_that_it_may_end_lower(name: str) -> None:
    """It is added whatever the metric says."""
    assert not parse_attack(f"{name}:file=any.safetensors").keeps_clean


@pytest.mark.parametrize("name", EDITS)
def test_an_everyday_edit_says_that_it_may_end_lower(name: str) -> None:
    """It is made whatever the metric says."""
    assert not parse_attack(name).keeps_clean


@pytest.mark.parametrize("text", AS_PUBLISHED)
def test_a_gradient_attack_in_benchmark_mode_hands_out_what_the_benchmark_does(text: str, images: Images) -> None:
    """The last image of the walk, worse or not; of AdvCF's curves the first, which changes nothing."""
    attack = parse_attack(text)
    assert not attack.keeps_clean
    scores = attack(images, hostile(images), companions=COMPANIONS).scores
    assert np.all(scores == 0 if attack.name == "advcf" else scores < 0)


@pytest.mark.parametrize("text", [text for text in SEARCHES if not text.startswith(("zhang-lpips", "zhang-dists"))])
@pytest.mark.parametrize("direction", ["up", pytest.param("down", marks=pytest.mark.slow)])
def test_no_search_ends_below_a_photograph_on_the_shipped_metric(text: str, direction: str) -> None:
    """Upwards and downwards, each image by itself; at a radius where Square's stripes cost more than they gain."""
    data = pytest.importorskip("skimage.data")
    catalogue = pytest.importorskip("scoreguard_export.metrics.catalogue")
    crops = np.stack([image[100:132, 200:232].transpose(2, 0, 1) for image in (data.astronaut(), data.coffee())])
    clean, sign = (crops / 255).astype(np.float32), 1 if direction == "up" else -1
    metric: torch.nn.Module = catalogue.load_metric("lite").requires_grad_(False)
    oracle = TorchOracle(function=metric)
    result = parse_attack(f"{text}:direction={direction}")(clean, oracle, companions=COMPANIONS)
    assert np.all(sign * oracle.score(result.attacked) >= sign * oracle.score(clean) - 1e-4)


def test_an_image_that_gains_is_kept_beside_one_that_does_not(images: Images) -> None:
    """The choice is each image's own."""

    class Half(PeakOracle):
        def score(self, images: Images) -> Scores:
            return np.where(np.arange(len(images)) == 1, 1.0, -1.0) * -super().score(images) * -1

    oracle = Half(clean=images, weights=hostile(images).weights)
    result = parse_attack("pgd:iterations=3")(images, oracle)
    changed = (result.attacked != images).any(axis=(1, 2, 3))
    assert changed.tolist() == [oracle.score(result.attacked)[place] > 0 for place in range(3)]
    assert 0 < changed.sum() < 3


@pytest.mark.parametrize("text", ["pgd:iterations=3", "ifgsm", "square:queries=400", "nes:queries=400"])
@pytest.mark.parametrize("draws", [1, 2])
def test_behind_a_random_defence_means_are_compared(text: str, draws: int, images: Images) -> None:
    """The luckiest of many noisy answers does not win: its mean is lower, and the score handed out is a mean too."""
    oracle = NoisyPeak(clean=images, weights=hostile(images).weights, draws=draws)
    result = parse_attack(text)(images, oracle)
    np.testing.assert_array_equal(result.attacked, images)
    rounds = JUDGING_CALLS // draws
    np.testing.assert_allclose(result.scores, result.trace[-2 * rounds :][1::2].mean(axis=0))


BY_SCORES = [name for name, kind in CATALOGUE.items() if kind.needs is Needs.SCORES]
BUDGETS = [
    pytest.param(name, queries, marks=[pytest.mark.slow] * (name == "free-best" and queries > 20))
    for name in BY_SCORES
    for queries in (1, 2, 19, 20, 57, 400)
]
"""Edits of noise are weakened in many trials each."""


@pytest.mark.parametrize(("name", "queries"), BUDGETS)
def test_the_comparison_is_paid_from_the_budget(name: str, queries: int, images: Images) -> None:
    """Exactly as many calls as declared, and at most a tenth of them for the comparison."""
    for oracle in (hostile(images), NoisyPeak(clean=images, weights=hostile(images).weights)):
        result = parse_attack(f"{name}:queries={queries}")(images, ScoreOnly(inner=oracle))
        assert result.queries.tolist() == [queries] * 3
        assert oracle.calls == queries
