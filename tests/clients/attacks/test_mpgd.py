"""M-PGD: its formula, its decay, and the derivative of rounding that it asks for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from tests.clients.attacks.conftest import LinearOracle, TorchOracle

from scoreguard.chain.rounding import Rounding
from scoreguard.v1.spec import Step, parse_chain
from scoreguard_client.attacks import AttackSpecError, Direction, parse_attack
from scoreguard_client.attacks.mpgd import MPGD
from scoreguard_client.oracles.base import Gradients, Images, Scores

QUANTISE = parse_chain("quantise:levels=8")


def waves(images: torch.Tensor) -> torch.Tensor:
    """A bumpy score."""
    return 0.5 + (torch.sin(40 * images) * torch.cos(23 * images.flip(3))).mean(dim=(1, 2, 3)) / 4


def test_it_follows_its_formula(images: Images) -> None:
    """Three steps by hand: momentum of gradients of norm 1, lengths 2 eps (1 + cos(pi t / 3)) / 2, each cut."""
    eps, oracle = 0.05, TorchOracle(function=waves)
    current, direction, seen = images, np.zeros_like(images), []
    for step in range(3):
        scores, gradient = oracle.gradient(current)
        seen.append((scores, current))
        direction = direction + gradient / np.abs(gradient).sum(axis=(1, 2, 3), keepdims=True)
        length = 2 * eps * (1 + np.cos(np.pi * step / 3)) / 2
        current = np.clip(np.clip(current + length * np.sign(direction), images - eps, images + eps), 0, 1)
        current = current.astype(np.float32)
    seen.append((oracle.score(current), current))
    best = np.argmax(np.stack([scores for scores, _ in seen]), axis=0)
    result = MPGD(eps=eps, iterations=3)(images, oracle)
    np.testing.assert_allclose(result.attacked, np.stack([found for _, found in seen])[best, np.arange(3)], atol=2e-7)


@pytest.mark.parametrize("direction", list(Direction))
def test_a_linear_score_is_driven_to_the_corner(direction: Direction, images: Images) -> None:
    """Where the optimum is known."""
    weights = np.random.default_rng(3).normal(size=images.shape[1:]).astype(np.float32)
    result = MPGD(eps=0.03, iterations=4, direction=direction)(images, LinearOracle(weights=weights))
    sign = 1 if direction is Direction.UP else -1
    np.testing.assert_allclose(result.attacked, np.clip(images + sign * 0.03 * np.sign(weights), 0, 1), atol=1e-6)


def test_the_first_restart_begins_at_the_clean_image_so_that_it_never_ends_below(images: Images) -> None:
    """The others begin elsewhere, and only add candidates."""
    oracle = LinearOracle(weights=np.ones(images.shape[1:], dtype=np.float32))
    MPGD(eps=0.1, iterations=2, restarts=2)(images, oracle)
    np.testing.assert_array_equal(oracle.seen[0], images)
    assert not np.array_equal(oracle.seen[3], images)
    bumpy = TorchOracle(function=waves)
    one, many = (MPGD(eps=0.1, iterations=4, restarts=restarts)(images, bumpy) for restarts in (1, 3))
    assert np.all(one.scores >= bumpy.score(images))
    assert np.all(many.scores >= one.scores)


@dataclass(kw_only=True)
class Quantised:
    """A linear score behind eight levels, whose rounding takes either derivative, or none is offered."""

    weights: Images
    chain: tuple[Step, ...] = QUANTISE
    rounding: Rounding = Rounding.STRAIGHT_THROUGH
    asked: list[Rounding] = field(default_factory=list)

    @property
    def facts(self):  # type: ignore[no-untyped-def]  # noqa: ANN201
        """Those of the linear score."""
        return LinearOracle(weights=self.weights, chain=self.chain).facts

    def with_rounding(self, rounding: Rounding) -> Quantised:
        """Another derivative."""
        return replace(self, rounding=rounding)

    def score(self, images: Images) -> Scores:
        """Behind the levels."""
        return LinearOracle(weights=self.weights).score((np.rint(images * 7) / 7).astype(np.float32))

    def gradient(self, images: Images) -> tuple[Scores, Gradients]:
        """Notes which derivative was asked for."""
        self.asked.append(self.rounding)
        slope = 1 if self.rounding is Rounding.STRAIGHT_THROUGH else 3 * (images * 7 - np.rint(images * 7)) ** 2
        return self.score(images), (np.ones_like(images) * self.weights * slope).astype(np.float32)


@pytest.mark.parametrize("rounding", list(Rounding))
def test_behind_a_chain_that_rounds_it_takes_the_derivative_that_was_chosen(rounding: Rounding, images: Images) -> None:
    """Every gradient of the run; the oracle that was handed in stays as it is."""
    oracle = Quantised(weights=np.ones(images.shape[1:], dtype=np.float32))
    result = MPGD(eps=0.05, iterations=3, rounding=rounding)(images, oracle)
    assert oracle.asked == [rounding] * 3
    assert oracle.rounding is Rounding.STRAIGHT_THROUGH
    assert np.all(result.scores >= oracle.score(images))


def test_behind_other_chains_nothing_is_asked_of_the_oracle(images: Images) -> None:
    """The choice is one of rounding alone."""
    oracle = Quantised(weights=np.ones(images.shape[1:], dtype=np.float32), chain=parse_chain("blur:kernel=3"))
    MPGD(eps=0.05, iterations=2)(images, oracle)
    assert oracle.asked == [Rounding.STRAIGHT_THROUGH] * 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mpgd:alpha=2", "alpha must"),
        ("mpgd:nu=-1", "nu must"),
        ("mpgd:rounding=x", "straight-through or cubic"),
    ],
)
def test_parameters_out_of_range_are_refused(text: str, said: str) -> None:
    """The message names the parameter, or what it takes."""
    with pytest.raises(AttackSpecError, match=said):
        parse_attack(text)
