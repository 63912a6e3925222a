"""Square: how near it comes to a known optimum, its seeds, its squares and its budget."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from tests.clients.attacks.conftest import LinearOracle, ScoreOnly

from scoreguard_client.attacks import Mode, Square
from scoreguard_client.oracles.base import Images, Scores


def linear(shape: tuple[int, ...], seed: int = 5) -> LinearOracle:
    """Weights that are smooth over the image, as a metric's are."""
    rows, columns = np.indices(shape[1:])
    phases = np.random.default_rng(seed).uniform(0, 6, (3, 1, 1))
    return LinearOracle(weights=np.sin(rows / 6 + columns / 9 + phases).astype(np.float32))


@pytest.mark.parametrize("mode", list(Mode))
def test_most_of_a_linear_optimum_is_found_and_never_more(mode: Mode) -> None:
    """With 1000 queries at least 60 % of eps * ||w||_1 is gained, and not a bit more than all of it."""
    clean = np.full((2, 3, 30, 41), 0.5, dtype=np.float32)
    oracle = linear(clean.shape[1:])
    result = Square(queries=1000, p_init=0.3, mode=mode)(clean, ScoreOnly(inner=oracle))
    optimum = 0.1 * np.abs(oracle.weights).sum()
    gained = result.scores - oracle.score(clean)
    assert np.all(gained >= 0.6 * optimum)
    assert np.all(gained <= optimum * (1 + 1e-6))


class CurvedOracle(LinearOracle):
    """A linear score and a little of the products of neighbouring elements, which the best corner must heed too."""

    def score(self, images: Images) -> Scores:
        """The sum of both."""
        flat = 20 * (images.reshape(len(images), -1).astype(np.float64) - 0.5)
        return np.asarray(flat @ self.weights.ravel() + (flat[:, 1:] * flat[:, :-1]).sum(axis=1) / 40)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("seed", range(5))
def test_on_a_tiny_image_it_finds_the_best_of_all_corners(mode: Mode, seed: int) -> None:
    """All 4096 images of 2 x 2 pixels at x + eps or x - eps are tried; random search ends at the best of them."""
    clean = np.full((1, 3, 2, 2), 0.5, dtype=np.float32)
    oracle = CurvedOracle(weights=np.random.default_rng(seed).normal(size=(3, 2, 2)).astype(np.float32))
    signs = np.array(list(itertools.product((-0.1, 0.1), repeat=12)), dtype=np.float32).reshape(-1, 3, 2, 2)
    optimum = oracle.score(clean + signs).max()
    result = Square(queries=600, p_init=0.8, mode=mode)(clean, ScoreOnly(inner=oracle), seeds=[seed])
    assert result.scores[0] == pytest.approx(optimum, rel=1e-5)


@pytest.mark.parametrize("queries", [1, 2, 57])
def test_exactly_the_declared_queries_are_asked_and_the_best_answer_is_kept(queries: int, images: Images) -> None:
    """One call per query for the whole batch; the score handed out is the best of the trace."""
    oracle = linear(images.shape[1:])
    result = Square(queries=queries)(images, ScoreOnly(inner=oracle))
    assert oracle.calls == queries
    assert result.queries.tolist() == [queries] * len(images)
    np.testing.assert_array_equal(result.scores, result.trace.max(axis=0))


def test_the_same_seeds_give_the_same_images_whatever_the_batch(images: Images) -> None:
    """An image's attack depends on its seed alone; another seed gives another image."""
    attack, oracle = Square(queries=40), ScoreOnly(inner=linear(images.shape[1:]))
    batch = attack(images, oracle, seeds=[7, 8, 9])
    alone = attack(images[1:2], oracle, seeds=[8])
    other = attack(images[1:2], oracle, seeds=[80])
    np.testing.assert_array_equal(batch.attacked[1:2], alone.attacked)
    assert not np.array_equal(alone.attacked, other.attacked)


def test_the_start_is_vertical_stripes_of_one_pixel() -> None:
    """Every column of every channel is x + eps or x - eps from top to bottom, and both occur."""
    clean = np.full((1, 3, 12, 40), 0.5, dtype=np.float32)
    oracle = linear(clean.shape[1:])
    Square(queries=2)(clean, ScoreOnly(inner=oracle))
    np.testing.assert_array_equal(oracle.seen[0], clean)
    start = oracle.seen[1] - clean
    np.testing.assert_allclose(np.abs(start), 0.1, atol=1e-6)
    assert np.all(start == start[:, :, :1, :])
    assert len(np.unique(start[0, 0, 0] > 0)) == 2


def test_the_benchmark_mode_starts_from_the_clean_image_and_never_ends_below_it(images: Images) -> None:
    """The first question is about the clean image."""
    oracle = linear(images.shape[1:])
    result = Square(queries=30, mode=Mode.BENCHMARK)(images, ScoreOnly(inner=oracle))
    np.testing.assert_array_equal(oracle.seen[0], images)
    assert np.all(result.scores >= result.trace[0])


def test_squares_reach_every_part_of_an_image_larger_than_256_pixels() -> None:
    """The lower right corner of a 20 x 400 image is attacked too."""
    clean = np.full((1, 3, 20, 400), 0.5, dtype=np.float32)
    oracle = LinearOracle(weights=np.ones((3, 20, 400), dtype=np.float32))
    result = Square(queries=400, p_init=0.2, mode=Mode.BENCHMARK)(clean, ScoreOnly(inner=oracle))
    assert np.abs(result.attacked - clean)[..., 10:, 380:].max() > 0.09


def test_the_squares_shrink_by_the_papers_schedule() -> None:
    """At 10 000 queries the covered share halves after 10, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000."""
    attack = Square(p_init=0.05)
    for halvings, queries in enumerate([(1, 10), (11, 50), (51, 200), (201, 500), (501, 1000), (1001, 2000)]):
        for query in queries:
            assert attack.side(query, 1000, 1000) == round((0.05 / 2**halvings * 1e6) ** 0.5)
    assert attack.side(9999, 1000, 1000) == round((0.05 / 2**9 * 1e6) ** 0.5)
    assert Square(queries=100, p_init=0.05).side(99, 1000, 1000) == attack.side(9900, 1000, 1000)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (33, 2)])
def test_tiny_images_are_attacked_without_leaving_them(size: tuple[int, int]) -> None:
    """Squares are cut to the image and have at least one pixel."""
    clean = np.full((2, 3, *size), 0.3, dtype=np.float32)
    result = Square(queries=25, p_init=0.8)(clean, ScoreOnly(inner=linear(clean.shape[1:])))
    assert result.attacked.shape == clean.shape
