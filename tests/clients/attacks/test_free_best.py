"""The best everyday edit: its candidates in order, its queries, and that it is never below any of them."""

from __future__ import annotations

import numpy as np
import pytest
from tests.clients.attacks.black_box import CostlyOracle, require_both_directions, require_exact_queries, waves
from tests.clients.attacks.budgets import require_budget
from tests.clients.attacks.conftest import ConstantOracle, ScoreOnly

from scoreguard_client.attacks import CATALOGUE, Needs, parse_attack
from scoreguard_client.attacks.free import candidates
from scoreguard_client.attacks.free.best import FreeBest
from scoreguard_client.attacks.free.candidates import AS_USUAL, CANDIDATES, MILDER, STRONGER
from scoreguard_client.oracles.base import Images


@pytest.fixture(scope="module")
def photos() -> Images:
    """Two real photographs, 40 x 49."""
    data = pytest.importorskip("skimage.data")
    crops = [image[100:140, 200:249].transpose(2, 0, 1) for image in (data.astronaut(), data.coffee())]
    return (np.stack(crops) / 255).astype(np.float32)


def test_every_edit_is_a_candidate_three_times() -> None:
    """As it is by default, stronger and milder; a new edit must be put on the lists."""
    edits = {name for name, kind in CATALOGUE.items() if kind.needs is Needs.NOTHING}
    for several in (AS_USUAL, STRONGER, MILDER):
        assert sorted(edit.name for edit in several) == sorted(edits)
    assert all(edit == type(edit)() for edit in AS_USUAL)
    assert len(set(CANDIDATES)) == 3 * len(edits)
    assert FreeBest().queries == 1 + len(CANDIDATES)


def test_the_clean_image_and_then_each_candidate_is_asked_about(photos: Images) -> None:
    """What the queries are about is what the edits themselves make; they have the same seeds."""
    oracle = waves(photos.shape[1:])
    result = FreeBest(queries=1 + len(AS_USUAL))(photos, ScoreOnly(inner=oracle), seeds=[5, 6])
    np.testing.assert_array_equal(oracle.seen[0], photos)
    alone = [edit(photos, ConstantOracle(4.0), seeds=[5, 6]).attacked for edit in AS_USUAL]
    for asked, wanted in zip(oracle.seen[1:], alone, strict=True):
        np.testing.assert_array_equal(asked, wanted)
    wanted = np.max([oracle.score(images) for images in (photos, *alone)], axis=0)
    np.testing.assert_array_equal(result.scores, wanted)


@pytest.mark.parametrize("queries", [1, 2, 34])
def test_exactly_the_declared_queries_are_asked(queries: int, images: Images) -> None:
    """Fewer than there are candidates, and more."""
    require_exact_queries(FreeBest(queries=queries, min_ssim=0.6), images)


def test_calls_that_cost_more_end_the_search(images: Images) -> None:
    """Nothing is asked beyond the budget, in the list and after it."""
    for queries in (20, 135):
        oracle = CostlyOracle(weights=waves(images.shape[1:]).weights)
        FreeBest(queries=queries, min_ssim=0.6)(images, oracle)
        assert oracle.calls == 1 + (queries - 3) // 4


def test_more_queries_than_candidates_edit_the_best_image_further(photos: Images) -> None:
    """Edit upon edit, still inside the budget, and from the seed."""
    oracle, attack = ScoreOnly(inner=waves(photos.shape[1:])), FreeBest(queries=51)
    short = FreeBest()(photos, oracle, seeds=[5, 6])
    found, again = (attack(photos, oracle, seeds=[5, 6]) for _ in range(2))
    assert np.all(found.scores > short.scores)
    np.testing.assert_array_equal(found.attacked, again.attacked)
    require_budget(attack, photos, found)


def test_both_directions_are_found(photos: Images) -> None:
    """Whichever way the metric runs."""
    require_both_directions(FreeBest(queries=11), photos)


def test_without_an_encoder_avif_is_passed_over(monkeypatch: pytest.MonkeyPatch, photos: Images) -> None:
    """The others follow each other; further queries edit the best image."""
    monkeypatch.setattr(candidates, "writes_avif", lambda: False)
    names = [edit.name for edit in candidates.candidates()]
    assert "free-avif" not in names
    assert len(names) == len(CANDIDATES) - 3
    result = parse_attack("free-best:queries=12")(photos, ScoreOnly(inner=waves(photos.shape[1:])))
    assert result.queries.tolist() == [12, 12]
