"""PGD: known optima, its starts, its bookkeeping of the best image, and its budget."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.clients.attacks.conftest import LinearOracle, TorchOracle

from scoreguard_client.attacks import AttackSpecError, Direction
from scoreguard_client.attacks.pgd import PGD
from scoreguard_client.oracles.base import Images


def waves(images: torch.Tensor) -> torch.Tensor:
    """A score with many local peaks: where a walk ends depends on where it starts."""
    return (torch.cos(150 * images) * images).sum(dim=(1, 2, 3))


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("higher_is_better", [True, False])
@pytest.mark.parametrize("iterations", [1, 20])
def test_a_linear_score_is_driven_to_the_corner_of_its_box(
    direction: Direction, higher_is_better: bool, iterations: int, images: Images
) -> None:
    """From any start, clip(x + eps sign(w)) is reached, or the other corner; a single step of 2.5 eps is enough."""
    weights = np.random.default_rng(2).normal(size=images.shape[1:]).astype(np.float32)
    oracle, attack = (
        LinearOracle(weights=weights, higher_is_better=higher_is_better),
        PGD(direction=direction, iterations=iterations),
    )
    sign = (1 if higher_is_better else -1) * (1 if direction is Direction.UP else -1)
    result = attack(images, oracle)
    np.testing.assert_allclose(result.attacked, np.clip(images + sign * attack.eps * np.sign(weights), 0, 1), atol=1e-6)


def test_every_restart_starts_at_another_uniform_point_of_the_ball(images: Images) -> None:
    """The first question of each restart is about a point that fills the ball: mean near 0, deviation eps / sqrt(3)."""
    clean = np.full((1, 3, 60, 60), 0.5, dtype=np.float32)
    oracle = LinearOracle(weights=np.ones(clean.shape[1:], dtype=np.float32))
    PGD(eps=0.1, iterations=3, restarts=2)(clean, oracle)
    first, second = oracle.seen[0] - clean, oracle.seen[4] - clean
    for start in (first, second):
        assert np.abs(start).max() <= 0.1
        assert abs(start.mean()) < 0.005
        np.testing.assert_allclose(start.std(), 0.1 / np.sqrt(3), rtol=0.03)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.05


def test_the_best_image_of_all_steps_and_restarts_is_handed_out(images: Images) -> None:
    """Long steps pass over the peaks: the result is the maximum of all that was asked, the clean images among it."""
    attack = PGD(alpha=0.03, iterations=7, restarts=3)
    result = attack(images, TorchOracle(function=waves))
    asked = result.trace[:-2]
    assert len(asked) == attack.queries_needed == 3 * 8
    np.testing.assert_allclose(result.scores, result.trace.max(axis=0), rtol=1e-6)
    assert np.any(result.scores > result.trace[-1])  # The last question is about the clean images.
    assert np.any(asked.max(axis=0) > asked[-1])


def test_more_restarts_are_never_worse_and_sometimes_better(images: Images) -> None:
    """The first restarts draw the same starts, so that more of them only add candidates."""
    few, many = (PGD(restarts=restarts)(images, TorchOracle(function=waves)) for restarts in (1, 4))
    assert np.all(many.scores >= few.scores)
    assert np.any(many.scores > few.scores)


def test_the_same_seed_gives_the_same_image_whatever_the_batch(images: Images) -> None:
    """Another seed gives another."""
    attack, oracle = PGD(iterations=20), TorchOracle(function=waves)
    batch = attack(images, oracle, seeds=[7, 8, 9])
    np.testing.assert_array_equal(batch.attacked[1:2], attack(images[1:2], oracle, seeds=[8]).attacked)
    assert not np.array_equal(batch.attacked[1:2], attack(images[1:2], oracle, seeds=[80]).attacked)


def test_a_step_is_two_and_a_half_balls_shared_among_the_iterations_unless_it_is_given() -> None:
    """The paper's 2.5 eps / 100."""
    assert PGD(eps=0.5, iterations=100).step == pytest.approx(0.0125)
    assert PGD(eps=0.5, iterations=100, alpha=0.2).step == 0.2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"alpha": -0.1}, "alpha"), ({"alpha": 2.0}, "alpha"), ({"iterations": 0}, "iterations"), ({"restarts": 0}, "re")],
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, float], said: str) -> None:
    """The message names the parameter."""
    with pytest.raises(AttackSpecError, match=said):
        PGD(**wrong)  # type: ignore[arg-type]
