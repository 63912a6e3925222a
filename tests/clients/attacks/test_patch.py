"""Patch: against exhaustive search, its place, pattern and schedules, and its budget."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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

from scoreguard_client.attacks.base import Mode
from scoreguard_client.attacks.errors import AttackSpecError
from scoreguard_client.attacks.patch import PatchRS
from scoreguard_client.oracles.base import Images, Scores


class Falling(LinearOracle):
    """Every answer is lower than the last one, so that the first patch is kept."""

    def score(self, images: Images) -> Scores:
        """Minus the number of earlier questions."""
        self.seen.append(images.copy())
        return np.full(len(images), 1.0 - len(self.seen))


def best_by_trying_all(oracle: LinearOracle, clean: Images, side: int) -> float:
    """The best score over all places; at each the best pattern of a linear score is 1 where the weight is positive."""
    height, width = clean.shape[2:]
    scores = []
    for top, left in itertools.product(range(height - side + 1), range(width - side + 1)):
        changed, window = clean.copy(), (slice(None), slice(top, top + side), slice(left, left + side))
        changed[0][window] = oracle.weights[window] > 0
        scores.append(oracle.score(changed)[0])
    return float(max(scores))


def hill(shape: tuple[int, ...], row: float, column: float) -> LinearOracle:
    """Weights that are positive and highest around one place."""
    rows, columns = np.indices(shape[1:])
    bump = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 20)
    return LinearOracle(weights=np.stack([bump, bump / 2, bump / 3]).astype(np.float32))


def trace_of_windows(oracle: LinearOracle, clean: Images) -> list[tuple[int, int, int, int]]:
    """Top, left, height and width of what each question changes in the first image; the first one changes nothing."""
    boxes = []
    for seen in oracle.seen[1:]:
        rows, columns = np.nonzero((seen[0] != clean[0]).any(axis=0))
        boxes.append((int(rows.min()), int(columns.min()), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1))
    return boxes


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("side", [1, 3, 5])
def test_exhaustive_search_over_places_finds_nothing_better(mode: Mode, side: int) -> None:
    """On a 9 x 12 image with one hill both the place and the pattern of the optimum are found exactly."""
    clean, oracle = np.full((1, 3, 9, 12), 0.2, dtype=np.float32), hill((3, 9, 12), 2, 8)
    result = PatchRS(mode=mode, side=side, queries=3000)(clean, ScoreOnly(inner=oracle))
    np.testing.assert_allclose(result.scores, best_by_trying_all(oracle, clean, side), rtol=1e-6)


def test_a_patch_over_the_whole_image_finds_the_best_pattern() -> None:
    """With one place only the 27 values are searched: 1 where the weight is positive, else 0."""
    clean, oracle = grey(3, 3, 3, 3), LinearOracle(weights=np.random.default_rng(0).normal(size=(3, 3, 3)).astype("f4"))
    result = PatchRS(side=3, queries=1500)(clean, ScoreOnly(inner=oracle))
    np.testing.assert_array_equal(result.attacked, np.broadcast_to(oracle.weights > 0, clean.shape))


def test_never_more_than_the_optimum_on_a_rough_score(images: Images) -> None:
    """With weights of many hills at least 75 % of the best gain over all places is found."""
    clean = grey(1, 3, 11, 14)
    oracle = waves((3, 11, 14), seed=2)
    start, optimum = oracle.score(clean)[0], best_by_trying_all(oracle, clean, 4)
    gained = PatchRS(side=4, queries=3000)(clean, ScoreOnly(inner=oracle)).scores[0] - start
    assert 0.75 * (optimum - start) <= gained <= (optimum - start) * (1 + 1e-6)


@pytest.mark.parametrize(("mode", "period"), [(Mode.PAPER, 5), (Mode.BENCHMARK, 4)])
def test_the_place_changes_at_every_so_many_th_question_and_the_pattern_at_the_others(mode: Mode, period: int) -> None:
    """Two questions in a row differ by a move of the same pattern, or by the pattern at the same place."""
    clean = grey(1, 3, 40, 60)
    oracle = Falling(weights=clean[0])
    PatchRS(mode=mode, queries=61)(clean, oracle)
    boxes = trace_of_windows(oracle, clean)
    side = 20 if mode is Mode.PAPER else 13
    assert {box[2:] for box in boxes} == {(side, side)}
    moved = [query for query, box in enumerate(boxes) if box[:2] != boxes[0][:2]]
    assert set(moved) <= set(range(period, 60, period))
    assert len(moved) > 0.7 * 60 / period


def test_the_shift_shrinks_to_nothing() -> None:
    """At question t of T a place moves by at most 0.75 (1 - t / T) of each side."""
    clean, queries = grey(1, 3, 50, 100), 400
    oracle = Falling(weights=clean[0])
    PatchRS(side=2, queries=queries)(clean, oracle)
    boxes = trace_of_windows(oracle, clean)
    for query, (top, left, *_) in enumerate(boxes):
        share = 0.75 * (1 - query / queries)
        assert abs(top - boxes[0][0]) <= share * 50
        assert abs(left - boxes[0][1]) <= share * 100
    assert max(abs(box[1] - boxes[0][1]) for box in boxes[: queries // 4]) > 20


def test_patterns_hold_0_and_1_only_and_start_from_both() -> None:
    """Every image that is asked about has a patch of pure colours on it."""
    clean, oracle = grey(2, 3, 30, 30), waves((3, 30, 30))
    PatchRS(queries=50)(clean, ScoreOnly(inner=oracle))
    changed = np.stack(oracle.seen)[np.stack(oracle.seen) != 0.5]
    assert set(np.unique(changed)) == {0.0, 1.0}
    assert 0.3 < np.mean(oracle.seen[1][oracle.seen[1] != 0.5]) < 0.7


@pytest.mark.parametrize(
    ("query", "halvings"), [(0, 0), (10, 0), (11, 1), (50, 1), (51, 2), (1000, 4), (1001, 5), (8000, 8), (8001, 9)]
)
def test_changes_shrink_by_the_schedule(query: int, halvings: int) -> None:
    """The side of a change is floor(sqrt(p) * side); the schedule scales with the budget."""
    for p_init in (0.4, 0.8):
        attack = PatchRS(side=500, p_init=p_init)
        assert attack.change(query, 500) == int((p_init / 2**halvings) ** 0.5 * 500)
    assert PatchRS(queries=100, p_init=0.8).change(50, 500) == PatchRS(p_init=0.8).change(5000, 500)
    assert PatchRS().change(9999, 5) == 1


def test_late_changes_turn_one_channel_of_one_pixel_over() -> None:
    """From half of the questions on that change one pixel, one of the three channels differs."""
    clean, queries = grey(1, 3, 4, 4), 2000
    oracle = LinearOracle(weights=np.zeros((3, 4, 4), dtype=np.float32))
    attack = PatchRS(side=4, queries=queries)
    attack(clean, ScoreOnly(inner=oracle))
    single = next(query for query in range(queries) if attack.change(query, 4) == 1)
    assert attack.one_channel_from(4) == (single + queries) // 2
    # A flat score keeps the first patch: each question differs from the first by its own change.
    _, first, *later = oracle.seen
    differences = [(seen != first)[0] for seen in (first, *later)]
    late, middle = differences[(single + queries) // 2 :], differences[single : (single + queries) // 2]
    assert {int(difference.sum()) for difference in late} == {1}
    assert {int(difference.sum()) for difference in middle} == {1, 2, 3}
    assert {int(difference.any(axis=0).sum()) for difference in middle} == {1}


def test_a_patch_shrinks_to_an_image_that_is_smaller() -> None:
    """On 4 x 7 pixels the patch of 13 is one of 4, and the budget is still that of 13."""
    clean, oracle = np.full((1, 3, 4, 7), 0.2, dtype=np.float32), hill((3, 4, 7), 2, 5)
    result = PatchRS(mode=Mode.BENCHMARK, queries=2000)(clean, ScoreOnly(inner=oracle))
    assert {box[2:] for box in trace_of_windows(oracle, clean)} == {(4, 4)}
    np.testing.assert_allclose(result.scores, best_by_trying_all(oracle, clean, 4), rtol=1e-6)


def test_a_parameter_of_0_takes_the_modes_number() -> None:
    """The text form says what ran."""
    paper, benchmark = PatchRS(), PatchRS(mode=Mode.BENCHMARK)
    assert (paper.side, paper.p_init, paper.period, paper.pixels) == (20, 0.4, 5, 400)
    assert (benchmark.side, benchmark.p_init, benchmark.period, benchmark.pixels) == (13, 0.8, 4, 169)
    assert "side=13" in str(benchmark)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("queries", [1, 2, 3, 41])
def test_exactly_the_declared_queries_are_asked(mode: Mode, queries: int, images: Images) -> None:
    """The first is about the first patch."""
    require_exact_queries(PatchRS(queries=queries, mode=mode), images)


def test_draws_and_calls_sent_again_count(images: Images) -> None:
    """The search ends where no question fits any more."""
    require_calls_to_end_the_search(PatchRS(queries=50), images)


@pytest.mark.parametrize("mode", list(Mode))
def test_an_image_is_attacked_the_same_alone_and_in_a_batch(mode: Mode, images: Images) -> None:
    """Each image has its own patch and random numbers."""
    require_the_same_alone_and_in_a_batch(PatchRS(queries=60, mode=mode, side=5), images)


def test_both_directions_and_both_senses_of_a_score_work() -> None:
    """Up is better, whatever the metric calls better."""
    require_both_directions(PatchRS(queries=300, side=6), grey(2, 3, 20, 20))


@settings(max_examples=20, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 2), st.just(3), st.integers(1, 24), st.integers(1, 24)),
    side=st.integers(1, 26),
    queries=st.integers(1, 40),
    mode=st.sampled_from(Mode),
)
def test_the_budget_holds_at_any_size(shape: tuple[int, ...], side: int, queries: int, mode: Mode) -> None:
    """Down to one pixel, and with patches larger than the image; every image that is asked about."""
    clean = (np.random.default_rng(1).integers(0, 256, shape) / 255).astype(np.float32)
    attack, oracle = PatchRS(queries=queries, side=side, mode=mode), waves(shape[1:])
    require_budget(attack, clean, attack(clean, ScoreOnly(inner=oracle)))
    assert all((seen != clean).any(axis=1).sum(axis=(1, 2)).max() <= side**2 for seen in oracle.seen)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"side": -1}, "side must be at least 1"),
        ({"p_init": 1.5}, "p_init must be in"),
        ({"period": 1}, "period must be at least 2"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters: dict[str, float], said: str) -> None:
    """In one line."""
    with pytest.raises(AttackSpecError, match=said):
        PatchRS(**parameters)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", list(Mode))
def test_the_shipped_metric_is_raised_within_200_queries(mode: Mode) -> None:
    """Every crop gains; each at least 0.5 of 100."""
    assert np.all(gains_on_lite(PatchRS(queries=200, mode=mode)) > 0.5)
