"""SPSA: its estimate against theory, its steps against torch's Adam on true gradients, and its budget."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.clients.attacks.black_box import (
    cosine,
    gains_on_lite,
    grey,
    require_both_directions,
    require_calls_to_end_the_search,
    require_exact_queries,
    require_the_same_alone_and_in_a_batch,
    waves,
)
from tests.clients.attacks.budgets import require_budget
from tests.clients.attacks.conftest import LinearOracle, ScoreOnly

from scoreguard_client.attacks.base import NO_COMPANIONS
from scoreguard_client.attacks.best import BestSeen
from scoreguard_client.attacks.errors import AttackSpecError
from scoreguard_client.attacks.session import Limits, Session
from scoreguard_client.attacks.spsa import SPSA
from scoreguard_client.oracles.base import Gradients, Images, ScoreOracle


def estimated(oracle: ScoreOracle, clean: Images, pairs: int) -> Gradients:
    """The gradient that the attack would step along."""
    attack = SPSA()
    session = Session(
        name="spsa",
        region=attack.region(clean, NO_COMPANIONS),
        oracle=oracle,
        limits=Limits(questions=2 * pairs),
        seeds=range(len(clean)),
        sign=1.0,
    )
    return attack.estimate(session, BestSeen(session), clean, pairs)


@pytest.mark.parametrize("pairs", [5, 20, 80, 320])
def test_the_estimate_turns_to_the_true_gradient_as_theory_says(pairs: int) -> None:
    """With n pairs of signs in D dimensions the cosine is about sqrt(n / (n + D - 1)): 0.13 for 5, 0.73 for 320."""
    clean, oracle = grey(8, 3, 8, 12), waves((3, 8, 12))
    found = estimated(oracle, clean, pairs)
    mean = np.mean([cosine(found[i], oracle.weights) for i in range(len(clean))])
    assert mean == pytest.approx(np.sqrt(pairs / (pairs + 3 * 8 * 12 - 1)), abs=0.06)


def test_the_probes_are_opposite_corners_at_delta() -> None:
    """Every element of a probe is x + delta or x - delta, and the second probe of a pair is the other one."""
    clean, oracle = grey(1, 3, 10, 10), waves((3, 10, 10))
    SPSA(queries=4)(clean, ScoreOnly(inner=oracle))
    up, down = oracle.seen[1] - clean, oracle.seen[2] - clean
    np.testing.assert_allclose(np.abs(up), 0.01, atol=1e-7)
    np.testing.assert_allclose(up, -down, atol=1e-7)
    assert 0.4 < np.mean(up > 0) < 0.6


def test_with_one_dimension_the_steps_are_those_of_adam_on_the_true_gradient() -> None:
    """Where all elements of a score weigh alike and one sign rules all, the estimate is exact: an independent Adam."""

    class OneSign(SPSA):
        def probe(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Images:
            return np.full(shape, 2.0 * rng.integers(0, 2) - 1, dtype=np.float32)

    def bowl(images: Images) -> np.ndarray:
        return -np.asarray((images.astype(np.float64).mean(axis=(1, 2, 3)) - 0.57) ** 2)

    class Bowl(LinearOracle):
        def score(self, images: Images) -> np.ndarray:
            self.seen.append(images.copy())
            return bowl(images)

    oracle, clean = Bowl(weights=grey(3, 1, 1)), grey(1, 3, 1, 1)
    OneSign(queries=2 * 9 + 2, pairs=1)(clean, oracle)
    value = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([value], lr=0.01)
    for _ in range(9):
        value.grad = 2 * (value.detach() - 0.57)
        adam.step()
    assert oracle.seen[-1].mean() == pytest.approx(value.item(), abs=1e-4)


def test_most_of_a_linear_optimum_is_found_and_never_more() -> None:
    """With 4000 queries 85 % of eps * ||w||_1 is gained, and not a bit more than all of it."""
    clean, oracle = grey(2, 3, 9, 7), waves((3, 9, 7))
    result = SPSA(queries=4000)(clean, ScoreOnly(inner=oracle))
    optimum = 0.1 * np.abs(oracle.weights).sum()
    gained = result.scores - oracle.score(clean)
    assert np.all(gained >= 0.85 * optimum)
    assert np.all(gained <= optimum * (1 + 1e-6))


@pytest.mark.parametrize("queries", [1, 2, 3, 4, 128, 131])
def test_exactly_the_declared_queries_are_asked(queries: int, images: Images) -> None:
    """Whatever the number leaves of a step."""
    require_exact_queries(SPSA(queries=queries), images)


@pytest.mark.parametrize("queries", [3, 7, 48, 51])
def test_draws_and_calls_sent_again_count(queries: int, images: Images) -> None:
    """A search may end between the two questions of a pair."""
    require_calls_to_end_the_search(SPSA(queries=queries, pairs=8), images)


def test_an_image_is_attacked_the_same_alone_and_in_a_batch(images: Images) -> None:
    """Each image has its own random numbers, and its own moments of Adam."""
    require_the_same_alone_and_in_a_batch(SPSA(queries=60, pairs=8), images)


def test_both_directions_and_both_senses_of_a_score_work(images: Images) -> None:
    """Up is better, whatever the metric calls better."""
    require_both_directions(SPSA(queries=120, pairs=8), images)


@settings(max_examples=15, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 2), st.just(3), st.integers(1, 20), st.integers(1, 20)),
    eps=st.floats(1e-3, 1),
    queries=st.integers(1, 30),
)
def test_the_budget_holds_at_any_size(shape: tuple[int, ...], eps: float, queries: int) -> None:
    """Images of any values and sizes, down to one pixel, every one that is asked about."""
    clean = (np.random.default_rng(queries).integers(0, 256, shape) / 255).astype(np.float32)
    attack, oracle = SPSA(queries=queries, eps=eps, pairs=5), waves(shape[1:])
    require_budget(attack, clean, attack(clean, ScoreOnly(inner=oracle)))
    assert all(np.abs(seen.astype(np.float64) - clean).max() <= eps for seen in oracle.seen)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"pairs": 0}, "pairs must be at least 1"),
        ({"delta": 0.0}, "the probes' distance"),
        ({"step": 2.0}, "step must be in"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters: dict[str, float], said: str) -> None:
    """In one line."""
    with pytest.raises(AttackSpecError, match=said):
        SPSA(**parameters)  # type: ignore[arg-type]


def test_the_shipped_metric_is_raised_within_200_queries() -> None:
    """Every crop gains; each at least 1 of 100."""
    assert np.all(gains_on_lite(SPSA(queries=200, pairs=16)) > 1)
