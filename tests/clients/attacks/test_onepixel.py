"""One pixel: against exhaustive search, its evolution against scipy and its own definition, and its budget."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import differential_evolution
from tests.clients.attacks.black_box import (
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
from scoreguard_client.attacks.evolution import Evolution, Fitness, Members, latin_hypercube
from scoreguard_client.attacks.onepixel import OnePixel, painted
from scoreguard_client.oracles.base import Images, Scores


def best_by_trying_all(oracle: LinearOracle, clean: Images, pixels: int) -> float:
    """The best score over all sets of pixels and all corners of the colour cube, where a linear score is highest."""
    places = list(np.ndindex(clean.shape[2:]))
    corners = list(itertools.product((0.0, 1.0), repeat=3))
    gains = {}
    for row, column in places:
        changed = np.repeat(clean, len(corners), axis=0)
        changed[:, :, row, column] = corners
        gains[row, column] = max(oracle.score(changed).max() - oracle.score(clean)[0], 0)
    chosen = itertools.combinations(places, pixels)
    return float(oracle.score(clean)[0] + max(sum(gains[place] for place in places) for places in chosen))


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize(("pixels", "population", "queries"), [(1, 60, 4000), (2, 200, 10_000)])
def test_exhaustive_search_finds_nothing_better_and_little_more(
    mode: Mode, pixels: int, population: int, queries: int
) -> None:
    """On a 4 x 3 image, of six runs the best has 97 % of the best possible gain, each 75 %, none more than all."""
    clean = np.random.default_rng(4).uniform(0.3, 0.7, (1, 3, 4, 3)).astype(np.float32)
    oracle = LinearOracle(weights=np.random.default_rng(3).normal(size=(3, 4, 3)).astype(np.float32))
    start, optimum = oracle.score(clean)[0], best_by_trying_all(oracle, clean, pixels)
    attack = OnePixel(mode=mode, pixels=pixels, population=population, queries=queries)
    shares = (attack(np.repeat(clean, 6, axis=0), ScoreOnly(inner=oracle)).scores - start) / (optimum - start)
    assert 0.97 <= shares.max() <= 1 + 1e-6
    assert shares.min() >= 0.75


def rosenbrock(members: Members) -> Fitness:
    """A curved valley, negated; the best is 0 at (1, 1, 1)."""
    first, second = members[:, :-1], members[:, 1:]
    return -np.asarray((100 * (second - first**2) ** 2 + (1 - first) ** 2).sum(axis=1))


def evolved(mode: Mode, generations: int, seed: int) -> float:
    """The best value that our evolution finds in the box from 0 to 2."""
    rng, high = np.random.default_rng(seed), np.full(3, 2.0)
    evolution = Evolution(rng, latin_hypercube(rng, 45, high), high, mode)
    evolution.select(evolution.members, rosenbrock(evolution.members))
    for _ in range(generations):
        trials = evolution.propose()
        evolution.select(trials, rosenbrock(trials))
    return float(evolution.fitness.max())


def test_the_benchmarks_evolution_is_as_good_as_scipys() -> None:
    """Median of 15 runs of 40 generations, ours beside scipy's with the benchmark's settings: within a factor of 10."""
    ours = [-evolved(Mode.BENCHMARK, 40, seed) for seed in range(15)]
    theirs = [
        differential_evolution(
            lambda x: -rosenbrock(x.T),
            [(0, 2)] * 3,
            maxiter=40,
            popsize=15,
            recombination=1,
            atol=-1,
            tol=0,
            polish=False,
            vectorized=True,
            updating="deferred",
            rng=seed,
        ).fun
        for seed in range(15)
    ]
    assert abs(np.log10(np.median(ours) / np.median(theirs))) < 1


def test_the_papers_trials_are_sums_of_three_other_members() -> None:
    """Each trial is x_a + (x_b - x_c) / 2 for three distinct members that are not the one in its place."""
    members = np.random.default_rng(0).uniform(1, 2, (7, 3))
    evolution = Evolution(np.random.default_rng(1), members, np.full(3, 5.0), Mode.PAPER)
    for place, trial in enumerate(evolution.propose()):
        others = [index for index in range(7) if index != place]
        sums = [members[a] + (members[b] - members[c]) / 2 for a, b, c in itertools.permutations(others, 3)]
        assert np.isclose(sums, trial).all(axis=1).any()


def test_the_benchmarks_trials_start_from_the_best_member_with_one_factor() -> None:
    """Each trial inside the box is x_best + F (x_a - x_b), with the same F from [0.5, 1) for all."""
    members = np.random.default_rng(0).uniform(40, 60, (6, 4))
    evolution = Evolution(np.random.default_rng(1), members, np.full(4, 100.0), Mode.BENCHMARK)
    evolution.select(members, np.arange(6.0))
    for place, trial in enumerate(evolution.propose()):
        others = [index for index in range(6) if index != place]
        factors = [(trial - members[5]) / (members[a] - members[b]) for a, b in itertools.permutations(others, 2)]
        constant = [factor.mean() for factor in factors if np.ptp(factor) < 1e-9]
        assert any(0.5 <= factor < 1 for factor in constant)


@pytest.mark.parametrize("mode", list(Mode))
def test_a_member_leaves_only_for_a_better_trial_and_none_leaves_the_box(mode: Mode) -> None:
    """Fitness never falls in any place, and trials stay within 0 and the border."""
    high = np.array([1.0, 2.0])
    evolution = Evolution(np.random.default_rng(0), np.random.default_rng(1).normal(1, 2, (8, 2)), high, mode)
    evolution.select(evolution.members, evolution.members.sum(axis=1))
    for _ in range(20):
        before, trials = evolution.fitness.copy(), evolution.propose()
        assert np.all((trials >= 0) & (trials <= high))
        evolution.select(trials, trials.sum(axis=1))
        assert np.all(evolution.fitness >= before)
    np.testing.assert_allclose(evolution.fitness, evolution.members.sum(axis=1))


def test_a_latin_hypercube_has_one_member_in_every_slice() -> None:
    """In every dimension."""
    members = latin_hypercube(np.random.default_rng(0), 10, np.array([1.0, 50.0]))
    for column, high in zip(members.T, (1, 50), strict=True):
        assert sorted((column / high * 10).astype(int)) == list(range(10))


def test_candidates_are_painted_by_whole_parts_and_cut_at_the_border() -> None:
    """Row 3 of 3 is the last row, level 256 is 255; two pixels of one candidate are both painted."""
    images = painted(grey(1, 3, 3, 4), [np.array([3.0, 1.9, 256, 0.5, 254.99, 0, 0, 51, 51, 51])])
    np.testing.assert_allclose(images[0, :, 2, 1], [1, 0, 254 / 255])
    np.testing.assert_allclose(images[0, :, 0, 0], 0.2)
    assert (images != 0.5).any(axis=1).sum() == 2


def first_generation(attack: OnePixel) -> Images:
    """The colours that the first candidates try, (candidates, 3)."""
    clean, oracle = np.full((1, 3, 20, 20), 0.123, dtype=np.float32), waves((3, 20, 20))
    attack(clean, ScoreOnly(inner=oracle))
    return np.stack([seen[0][:, (seen[0] != clean[0]).any(axis=0)][:, 0] for seen in oracle.seen[1:]])


def test_the_modes_start_from_normal_and_from_even_colours() -> None:
    """N(128, 127) cut to the borders: a third of the levels are 0 or 255. Latin hypercube: hardly any."""
    paper = first_generation(OnePixel(pixels=1, population=400, queries=401))
    benchmark = first_generation(OnePixel(pixels=1, population=400, queries=401, mode=Mode.BENCHMARK))
    assert 0.25 < np.mean((paper == 0) | (paper == 1)) < 0.4
    assert np.mean((benchmark == 0) | (benchmark == 1)) < 0.02
    np.testing.assert_allclose(paper * 255, np.rint(paper * 255), atol=1e-4)


def test_a_parameter_of_0_takes_the_modes_number() -> None:
    """The text form says what ran, and the pixels are known before the run."""
    paper, benchmark = OnePixel(), OnePixel(mode=Mode.BENCHMARK)
    assert (paper.pixels, paper.population, paper.queries) == (1, 400, 10_000)
    assert (benchmark.pixels, benchmark.population, benchmark.queries) == (3, 300, 300 * 11)
    assert "pixels=3" in str(benchmark)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("queries", [1, 2, 3, 10, 11, 37])
def test_exactly_the_declared_queries_are_asked(mode: Mode, queries: int, images: Images) -> None:
    """Less than a generation, and a generation cut short."""
    require_exact_queries(OnePixel(queries=queries, population=10, mode=mode), images)


def test_draws_and_calls_sent_again_count(images: Images) -> None:
    """The search ends where no question fits any more."""
    require_calls_to_end_the_search(OnePixel(queries=50, population=5), images)


@pytest.mark.parametrize("mode", list(Mode))
def test_an_image_is_attacked_the_same_alone_and_in_a_batch(mode: Mode, images: Images) -> None:
    """Each image has its own population and random numbers."""
    require_the_same_alone_and_in_a_batch(OnePixel(queries=60, population=10, mode=mode), images)


def test_both_directions_and_both_senses_of_a_score_work(images: Images) -> None:
    """Up is better, whatever the metric calls better."""
    require_both_directions(OnePixel(queries=90, population=15), images)


@settings(max_examples=20, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 2), st.just(3), st.integers(1, 12), st.integers(1, 12)),
    pixels=st.integers(1, 6),
    mode=st.sampled_from(Mode),
)
def test_the_budget_holds_at_any_size(shape: tuple[int, ...], pixels: int, mode: Mode) -> None:
    """Down to one pixel, and with more pixels than the image has; every image that is asked about."""
    clean = (np.random.default_rng(1).integers(0, 256, shape) / 255).astype(np.float32)
    attack, oracle = OnePixel(queries=25, pixels=pixels, population=6, mode=mode), waves(shape[1:])
    require_budget(attack, clean, attack(clean, ScoreOnly(inner=oracle)))
    assert all((seen != clean).any(axis=1).sum(axis=(1, 2)).max() <= pixels for seen in oracle.seen)


def test_a_score_that_only_one_pixel_moves_is_found() -> None:
    """The optimum of a score that looks at one pixel of 9 is that pixel at its best colour."""

    class Peephole(LinearOracle):
        def score(self, images: Images) -> Scores:
            return np.asarray(-np.abs(images[:, :, 1, 2].astype(np.float64) - [0.2, 0.9, 0.4]).sum(axis=1))

    result = OnePixel(queries=4000, population=40)(grey(1, 3, 3, 3), Peephole(weights=grey(3, 3, 3)))
    np.testing.assert_allclose(result.attacked[0, :, 1, 2], [0.2, 0.9, 0.4], atol=0.02)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"pixels": -1}, "pixels must be at least 1"),
        ({"population": 3}, "population must be at least 4"),
        ({"queries": -1}, "queries must be at least 1"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters: dict[str, int], said: str) -> None:
    """In one line."""
    with pytest.raises(AttackSpecError, match=said):
        OnePixel(**parameters)  # type: ignore[arg-type]
