"""SimBA: its bases against scipy, the optimum of its step set, what a step costs, and its budget."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dctn
from tests.clients.attacks.black_box import (
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

from scoreguard_client.attacks.errors import AttackSpecError
from scoreguard_client.attacks.simba import Basis, SimBA

SHAPE = (3, 5, 8)


def test_the_waves_are_those_of_the_orthonormal_cosine_transform() -> None:
    """In scipy's transform each direction is a single 1, at its channel and frequencies."""
    attack = SimBA(frequencies=0.5)
    sizes = attack.sizes(SHAPE)
    assert sizes == (3, 3, 4)
    for index in range(int(np.prod(sizes))):
        wanted = np.zeros(SHAPE)
        wanted[np.unravel_index(index, sizes)] = 1
        np.testing.assert_allclose(dctn(attack.unit(index, SHAPE), axes=(1, 2), norm="ortho"), wanted, atol=1e-6)


def test_the_pixel_basis_is_every_channel_of_every_pixel() -> None:
    """All directions together are the identity."""
    attack = SimBA(basis=Basis.PIXEL)
    size = int(np.prod(SHAPE))
    directions = np.stack([attack.unit(index, SHAPE).ravel() for index in range(size)])
    np.testing.assert_array_equal(directions, np.eye(size))


def test_one_round_of_pixels_reaches_the_optimum_of_its_step_set() -> None:
    """A linear score after one round is exactly its best over all x + step * {-1, 0, 1}^D: + step * ||w||_1."""
    clean, oracle = grey(2, *SHAPE), waves(SHAPE)
    queries = 1 + 2 * clean[0].size
    result = SimBA(basis=Basis.PIXEL, step=0.2, queries=queries, eps=0.2)(clean, ScoreOnly(inner=oracle))
    np.testing.assert_allclose(result.scores, oracle.score(clean) + 0.2 * np.abs(oracle.weights).sum(), rtol=1e-5)


def test_more_rounds_reach_the_corner_of_the_ball() -> None:
    """With steps of a third of eps, three rounds and more end at clip(x + eps sign(w))."""
    clean, oracle = np.full((1, *SHAPE), 0.05, dtype=np.float32), waves(SHAPE)
    result = SimBA(basis=Basis.PIXEL, step=0.04, queries=1200, eps=0.12)(clean, ScoreOnly(inner=oracle))
    np.testing.assert_allclose(result.attacked, np.clip(clean + 0.12 * np.sign(oracle.weights), 0, 1), atol=1e-6)


def test_one_round_of_waves_moves_each_by_a_step_along_the_gradient() -> None:
    """The change's transform has the signs of the weights' transform at low frequencies, and is 0 elsewhere."""
    clean, oracle = (
        grey(1, *SHAPE),
        LinearOracle(weights=np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)),
    )
    attack = SimBA(frequencies=0.5, step=0.02, queries=73)
    change = attack(clean, ScoreOnly(inner=oracle)).attacked[0].astype(np.float64) - 0.5
    wanted = 0.02 * np.sign(dctn(oracle.weights, axes=(1, 2), norm="ortho"))
    wanted[:, 3:], wanted[:, :, 4:] = 0, 0
    # Directions whose first trial succeeds cost one question: some queries are left for a second round.
    steps = np.rint(dctn(change, axes=(1, 2), norm="ortho") / 0.02)
    assert np.array_equal(np.sign(steps), np.sign(wanted))
    assert np.abs(steps).max() <= 2


def test_each_direction_is_tried_once_a_round_and_back_only_after_a_failure() -> None:
    """Where + always succeeds, as many questions as directions try each once."""
    clean = grey(1, *SHAPE)
    oracle = LinearOracle(weights=np.ones(SHAPE, dtype=np.float32))
    SimBA(basis=Basis.PIXEL, step=0.1, queries=1 + clean.size)(clean, ScoreOnly(inner=oracle))
    np.testing.assert_allclose(oracle.seen[-1], 0.6, atol=1e-6)


def test_a_trial_that_changes_nothing_is_not_asked_about() -> None:
    """On a white image only the way down moves: every question after the first differs from the best so far."""
    clean = np.ones((1, *SHAPE), dtype=np.float32)
    oracle = LinearOracle(weights=np.ones(SHAPE, dtype=np.float32))
    SimBA(basis=Basis.PIXEL, queries=60)(clean, ScoreOnly(inner=oracle))
    assert all(not np.array_equal(seen, clean) for seen in oracle.seen[1:])


def test_where_nothing_can_change_the_search_still_ends() -> None:
    """A ball smaller than the distance between float32 numbers has one image in it."""
    clean = grey(1, 3, 2, 2)
    result = SimBA(eps=1e-12, queries=9)(clean, waves((3, 2, 2)))
    np.testing.assert_array_equal(result.attacked, clean)


@pytest.mark.parametrize("basis", list(Basis))
@pytest.mark.parametrize("queries", [1, 2, 3, 90])
def test_exactly_the_declared_queries_are_asked(basis: Basis, queries: int, images: np.ndarray) -> None:
    """The first is about the clean image, so that no image ends below it."""
    result = require_exact_queries(SimBA(queries=queries, basis=basis), images)
    assert np.all(result.scores >= result.trace[0])


def test_draws_and_calls_sent_again_count(images: np.ndarray) -> None:
    """The search ends where no question fits any more."""
    require_calls_to_end_the_search(SimBA(queries=50), images)


@pytest.mark.parametrize("basis", list(Basis))
def test_an_image_is_attacked_the_same_alone_and_in_a_batch(basis: Basis, images: np.ndarray) -> None:
    """Each image walks through its own order, at its own pace."""
    require_the_same_alone_and_in_a_batch(SimBA(queries=60, basis=basis), images)


def test_both_directions_and_both_senses_of_a_score_work(images: np.ndarray) -> None:
    """Up is better, whatever the metric calls better."""
    require_both_directions(SimBA(queries=60), images)


@settings(max_examples=20, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 2), st.just(3), st.integers(1, 20), st.integers(1, 20)),
    eps=st.floats(1e-3, 1),
    step=st.floats(1e-3, 5),
    basis=st.sampled_from(Basis),
)
def test_the_budget_holds_at_any_size(shape: tuple[int, ...], eps: float, step: float, basis: Basis) -> None:
    """Images of any values and sizes, down to one pixel, every one that is asked about."""
    clean = (np.random.default_rng(1).integers(0, 256, shape) / 255).astype(np.float32)
    attack, oracle = SimBA(queries=25, eps=eps, step=step, basis=basis), waves(shape[1:])
    require_budget(attack, clean, attack(clean, ScoreOnly(inner=oracle)))
    assert all(np.abs(seen.astype(np.float64) - clean).max() <= eps for seen in oracle.seen)


@pytest.mark.parametrize(
    ("parameters", "said"), [({"step": 0.0}, "step must be above 0"), ({"frequencies": 1.5}, "frequencies must be in")]
)
def test_parameters_out_of_range_are_refused(parameters: dict[str, float], said: str) -> None:
    """In one line."""
    with pytest.raises(AttackSpecError, match=said):
        SimBA(**parameters)  # type: ignore[arg-type]


@pytest.mark.parametrize("basis", list(Basis))
def test_the_shipped_metric_is_raised_within_200_queries(basis: Basis) -> None:
    """Every crop gains; each at least 1 of 100."""
    assert np.all(gains_on_lite(SimBA(queries=200, basis=basis, eps=0.1)) > 1)
