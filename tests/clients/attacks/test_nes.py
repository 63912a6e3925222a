"""NES: its estimate against true gradients, how near it comes to a known optimum, its two modes and its budget."""

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
from tests.clients.attacks.conftest import LinearOracle, ScoreOnly, TorchOracle

from scoreguard_client.attacks.base import NO_COMPANIONS, AttackResult, Mode
from scoreguard_client.attacks.best import BestSeen
from scoreguard_client.attacks.errors import AttackSpecError, QueryBudgetError
from scoreguard_client.attacks.nes import NES
from scoreguard_client.attacks.session import Limits, Session
from scoreguard_client.oracles.base import Gradients, Images, ScoreOracle


def smooth(images: torch.Tensor) -> torch.Tensor:
    """A curved score in float64, so that only the sampling errs."""
    places = torch.linspace(0, 6, images[0].numel(), dtype=torch.float64).reshape(images.shape[1:])
    return torch.sin(3 * images.double() + places).sum(dim=(1, 2, 3))


def estimated(attack: NES, oracle: ScoreOracle, clean: Images, pairs: int, seed: int = 0) -> Gradients:
    """The gradient that the attack would step along."""
    session = Session(
        name="nes",
        region=attack.region(clean, NO_COMPANIONS),
        oracle=oracle,
        limits=Limits(questions=2 * pairs),
        seeds=range(seed, seed + len(clean)),
        sign=1.0,
    )
    return attack.estimate(session, BestSeen(session), clean, pairs)


@pytest.mark.parametrize("pairs", [5, 20, 80, 320])
def test_the_estimate_turns_to_the_true_gradient_as_theory_says(pairs: int) -> None:
    """With n pairs in D dimensions the cosine is about sqrt(n / (n + D + 1)): 0.13 for 5, 0.73 for 320."""
    clean, oracle = grey(8, 3, 8, 12), TorchOracle(function=smooth)
    true = oracle.gradient(clean)[1]
    found = estimated(NES(), oracle, clean, pairs)
    mean = np.mean([cosine(found[i], true[i]) for i in range(len(clean))])
    assert mean == pytest.approx(np.sqrt(pairs / (pairs + 3 * 8 * 12 + 1)), abs=0.06)


def test_the_estimate_has_no_bias() -> None:
    """The mean of many estimates of a linear score is its gradient, not a multiple of it."""
    clean, oracle = grey(1, 3, 2, 2), waves((3, 2, 2))
    found = estimated(NES(), oracle, clean, 4000)
    np.testing.assert_allclose(found[0], oracle.weights, atol=0.15)


def test_at_the_border_of_the_budget_the_estimate_is_halved_and_keeps_its_sign() -> None:
    """Only one probe of a pair can move a pixel that is black or white already."""
    clean = np.zeros((1, 3, 2, 2), dtype=np.float32)
    oracle = waves((3, 2, 2))
    found = estimated(NES(), oracle, clean, 4000)
    np.testing.assert_allclose(found[0], oracle.weights / 2, atol=0.15)


def test_the_benchmark_mode_probes_with_one_tile_repeated() -> None:
    """The estimate has a period of 32 pixels in benchmark mode and none in paper mode."""
    clean, oracle = grey(1, 3, 40, 70), ScoreOnly(inner=waves((3, 40, 70)))
    for mode, periodic in ((Mode.BENCHMARK, True), (Mode.PAPER, False)):
        found = estimated(NES(mode=mode), oracle, clean, 3)
        assert np.array_equal(found[..., 32:64], found[..., :32]) == periodic
        assert np.array_equal(found[..., 32:, :], found[..., :8, :]) == periodic


def first_iterate(attack: NES, clean: Images) -> Images:
    """Where one step of one pair leads: what the question after the clean image's and the pair's is about."""
    oracle = waves(clean.shape[1:])
    attack(clean, ScoreOnly(inner=oracle))
    return oracle.seen[3]


def test_the_modes_step_by_sign_and_by_length() -> None:
    """Paper: every element moves by 0.01. Benchmark: the 32 x 32 tile moves by 0.1 in L2."""
    clean = grey(2, 3, 32, 64)
    paper = first_iterate(NES(queries=4), clean) - clean
    np.testing.assert_allclose(np.abs(paper), 0.01, atol=1e-6)
    benchmark = (first_iterate(NES(queries=4, mode=Mode.BENCHMARK), clean) - clean)[..., :32]
    np.testing.assert_allclose(np.sqrt((benchmark.astype(np.float64) ** 2).sum(axis=(1, 2, 3))), 0.1, rtol=1e-3)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_the_momentum_adds_earlier_estimates(momentum: float) -> None:
    """The second step goes along sign(momentum * g1 + g2), both worked out from the questions and their answers."""
    clean, oracle = grey(1, 3, 6, 6), waves((3, 6, 6))
    NES(queries=6, pairs=1, momentum=momentum, sigma=0.01)(clean, ScoreOnly(inner=oracle))
    first, second = (
        (oracle.seen[i] - oracle.seen[i + 1]).astype(np.float64)
        * ((oracle.seen[i] - oracle.seen[i + 1]) * oracle.weights).sum()
        for i in (1, 3)
    )
    moved = oracle.seen[5] - (oracle.seen[3] + oracle.seen[4]) / 2
    agree = np.sign(np.round(moved, 4)) == np.sign(momentum * first + second)
    assert np.mean(agree) > 0.98


def test_most_of_a_linear_optimum_is_found_and_never_more() -> None:
    """With 3000 queries 85 % of eps * ||w||_1 is gained, and not a bit more than all of it."""
    clean, oracle = grey(2, 3, 9, 7), waves((3, 9, 7))
    result = NES(queries=3000)(clean, ScoreOnly(inner=oracle))
    optimum = 0.1 * np.abs(oracle.weights).sum()
    gained = result.scores - oracle.score(clean)
    assert np.all(gained >= 0.85 * optimum)
    assert np.all(gained <= optimum * (1 + 1e-6))


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("queries", [1, 2, 3, 4, 50, 52, 103])
def test_exactly_the_declared_queries_are_asked(mode: Mode, queries: int, images: Images) -> None:
    """Whatever the number leaves of a step."""
    require_exact_queries(NES(queries=queries, mode=mode), images)


@pytest.mark.parametrize("queries", [3, 7, 48, 51, 100])
def test_draws_and_calls_sent_again_count(queries: int, images: Images) -> None:
    """A search may end between the two questions of a pair."""
    require_calls_to_end_the_search(NES(queries=queries, pairs=8), images)


def test_a_budget_below_one_question_says_so(images: Images) -> None:
    """A random defence whose draws cost more than the budget leaves nothing to search with."""
    with pytest.raises(QueryBudgetError, match="costs its draws"):
        require_calls_to_end_the_search(NES(queries=2), images)


@pytest.mark.parametrize("mode", list(Mode))
def test_an_image_is_attacked_the_same_alone_and_in_a_batch(mode: Mode, images: Images) -> None:
    """Each image has its own random numbers."""
    require_the_same_alone_and_in_a_batch(NES(queries=60, mode=mode), images)


def test_both_directions_and_both_senses_of_a_score_work(images: Images) -> None:
    """Up is better, whatever the metric calls better."""
    require_both_directions(NES(queries=120), images)


@settings(max_examples=20, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 2), st.just(3), st.integers(1, 40), st.integers(1, 40)),
    eps=st.floats(1e-3, 1),
    mode=st.sampled_from(Mode),
    queries=st.integers(1, 30),
)
def test_the_budget_holds_at_any_size(shape: tuple[int, ...], eps: float, mode: Mode, queries: int) -> None:
    """Images of any values and sizes, down to one pixel, every one that is asked about."""
    clean = (np.random.default_rng(queries).integers(0, 256, shape) / 255).astype(np.float32)
    attack, oracle = NES(queries=queries, eps=eps, mode=mode), waves(shape[1:])
    result: AttackResult = attack(clean, ScoreOnly(inner=oracle))
    require_budget(attack, clean, result)
    assert all(np.abs(seen.astype(np.float64) - clean).max() <= eps for seen in oracle.seen)


def test_a_flat_score_gives_no_nan(images: Images) -> None:
    """A zero estimate is not divided by its norm."""
    flat = LinearOracle(weights=np.zeros(images.shape[1:], dtype=np.float32))
    for mode in Mode:
        assert np.isfinite(NES(queries=45, mode=mode)(images, flat).attacked).all()


def test_a_parameter_of_0_takes_the_modes_number() -> None:
    """The text form says what ran."""
    assert (NES().pairs, NES().step) == (25, 0.01)
    assert (NES(mode=Mode.BENCHMARK).pairs, NES(mode=Mode.BENCHMARK).step) == (20, 0.1)
    assert NES(mode=Mode.BENCHMARK, pairs=3).pairs == 3
    assert "pairs=25" in str(NES())


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"pairs": -1}, "pairs must be at least 1"),
        ({"sigma": 0.0}, "the probes' distance"),
        ({"step": -1.0}, "step must be above 0"),
        ({"momentum": 1.0}, "momentum must be in [0, 1)"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters: dict[str, float], said: str) -> None:
    """In one line."""
    with pytest.raises(AttackSpecError, match=said.replace("[", r"\[").replace(")", r"\)")):
        NES(**parameters)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", list(Mode))
def test_the_shipped_metric_is_raised_within_200_queries(mode: Mode) -> None:
    """Every crop gains; each at least 1 of 100."""
    assert np.all(gains_on_lite(NES(queries=200, mode=mode)) > 1)
