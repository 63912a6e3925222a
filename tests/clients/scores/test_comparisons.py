"""Paired tests and ranks of chains: against scipy, enumeration, and how often they are wrong."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from comparison_errors import KINDS, errors, ranks_held
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from scoreguard_client.scores.comparisons import compare, holm, sign_flip_ps, signed_rank_p
from scoreguard_client.scores.errors import ScoresError
from scoreguard_client.scores.ranking import Best, ranks


def numbered(count: int) -> list[str]:
    """Names of images."""
    return [f"image{number}" for number in range(count)]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), images=st.integers(1, 9), decimals=st.sampled_from([1, 12]))
def test_sign_flips_of_few_images_are_enumerated(seed: int, images: int, decimals: int) -> None:
    """The share of all patterns of signs whose mean is as far from 0, ties included; two tests share the patterns."""
    differences = np.random.default_rng(seed).normal(0.2, 1, (2, images)).round(decimals)
    wanted = []
    for row in differences:
        flipped = [abs(float(np.dot(signs, row))) for signs in product((1, -1), repeat=images)]
        wanted.append(np.mean([total >= abs(row.sum()) - 1e-9 for total in flipped]))
    assert sign_flip_ps(differences) == pytest.approx(wanted)


def test_sign_flips_of_many_images_are_scipys() -> None:
    """Random patterns of the same test, to the error of 10,000 of them."""
    differences = np.random.default_rng(1).normal(0.15, 1, 60)
    theirs = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=9999, rng=np.random.default_rng(2)
    ).pvalue
    ours = sign_flip_ps(differences[None])[0]
    assert ours == pytest.approx(theirs, abs=4 * np.sqrt(2 * theirs / 1e4))
    assert sign_flip_ps(differences[None], seed=3)[0] != ours
    assert sign_flip_ps(np.full((1, 60), 0.1))[0] == 1 / 10_000  # never reached, and never called impossible


@pytest.mark.parametrize("decimals", [0, 12])
@pytest.mark.parametrize("images", [1, 2, 5, 9, 17, 40])
def test_the_signed_rank_test_is_scipys(images: int, decimals: int) -> None:
    """Exact for few images, with ties and without; images without a difference are left out, and may be all."""
    differences = np.random.default_rng(images).normal(1, 2, images).round(decimals)
    told = differences[differences != 0]
    wanted = stats.wilcoxon(told).pvalue if len(told) else 1.0
    assert signed_rank_p(differences) == pytest.approx(wanted)
    assert signed_rank_p(np.append(differences, np.zeros(7))) == pytest.approx(wanted)
    assert signed_rank_p(np.zeros(images)) == 1


@settings(max_examples=40, deadline=None)
@given(ps=st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holms_correction_rejects_as_its_steps_do(ps: list[float]) -> None:
    """For every level: going up from the smallest p, stop at the first above the level over those that are left."""
    corrected = holm(np.array(ps))
    for level in (0.01, 0.05, 0.3):
        rejected: set[int] = set()
        for step, index in enumerate(np.argsort(ps, kind="stable")):
            if ps[index] * (len(ps) - step) > level:
                break
            rejected.add(int(index))
        assert {index for index, p in enumerate(corrected) if p <= level} == rejected


def test_every_pair_is_compared_and_corrected_for_all() -> None:
    """Three chains: the differences' means, and p-values that are three, two and one times those of a pair alone."""
    rng = np.random.default_rng(3)
    common = rng.normal(0.3, 0.2, 40)
    noises = rng.normal(0, 0.02, (2, 40))
    values = {"none": common + 0.1 + noises[0], "flip": common, "jpeg": common - 0.005 + noises[1]}
    compared = compare(values, numbered(40))
    assert [(pair.first, pair.second) for pair in compared] == [("none", "flip"), ("none", "jpeg"), ("flip", "jpeg")]
    alone = [stats.wilcoxon(values[pair.first] - values[pair.second]).pvalue for pair in compared]
    assert [pair.wilcoxon for pair in compared] == pytest.approx(holm(np.array(alone)).tolist())
    for pair in compared:
        assert pair.difference.value == pytest.approx((values[pair.first] - values[pair.second]).mean())
        assert pair.difference.low < pair.difference.value < pair.difference.high
    assert compared[0].flips == pytest.approx(3 / 10_000, rel=0.01)
    assert compared[2].flips > 0.05


def test_the_rows_of_an_image_count_once() -> None:
    """Five copies of each row change no p-value and no rank."""
    rng = np.random.default_rng(4)
    values = {chain: rng.normal(level, 0.1, 40) for chain, level in (("a", 0.1), ("b", 0.13), ("c", 0.3))}
    often = {chain: np.repeat(numbers, 5) for chain, numbers in values.items()}
    names = [name for name in numbered(40) for _ in range(5)]
    for once, many in zip(compare(values, numbered(40)), compare(often, names), strict=True):
        assert (many.wilcoxon, many.flips) == pytest.approx((once.wilcoxon, once.flips))
    assert [(rank.low, rank.high) for rank in ranks(often, names)] == [
        (rank.low, rank.high) for rank in ranks(values, numbered(40))
    ]


@pytest.mark.parametrize(
    ("kind", "images", "tables"),
    [
        ("six alike, skewed", 12, 60),
        *(pytest.param(kind, images, 1000, marks=pytest.mark.slow) for kind in KINDS for images in (12, 40)),
    ],
)
def test_chains_that_are_alike_are_rarely_called_different(kind: str, images: int, tables: int) -> None:
    """In at most 5 % of tables, and two simulation errors; uncorrected, several times as many of six chains would."""
    found = errors(KINDS[kind], images, tables)
    assert max(found.wilcoxon, found.flips) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / tables)
    if kind == "six alike, skewed":
        assert found.uncorrected > 0.15


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("images", "tables"), [(30, 100), (100, 100), pytest.param(30, 2000, marks=pytest.mark.slow)])
def test_true_ranks_are_inside_all_intervals_at_once_as_often_as_promised(kind: str, images: int, tables: int) -> None:
    """In 93 % of tables or more, less two simulation errors, whether the chains differ or not."""
    assert ranks_held(KINDS[kind], images, tables) >= 0.93 - 2 * np.sqrt(0.07 * 0.93 / tables)


def test_chains_that_differ_are_told_apart() -> None:
    """An interval from first to last would hold every rank: with 100 images the best and the worst chain are known."""
    kind, rng = KINDS["two alike of four, skewed"], np.random.default_rng(7)
    tables = [ranks(kind.table(rng, 100), numbered(100)) for _ in range(50)]
    told = [(table[0].low, table[0].high, table[3].low, table[3].high) == (1, 1, 4, 4) for table in tables]
    assert np.mean(told) > 0.5


def test_ranks_follow_the_means_from_either_end_and_equals_share_the_better_one() -> None:
    """Gains rank from the lowest, qualities from the highest; chains with the same scores are no surer than alike."""
    rng = np.random.default_rng(8)
    base = rng.normal(0, 0.1, 40)
    values = {"b": base + 0.2, "a": base, "twin": base + 0.2, "c": base + 0.5 + rng.normal(0, 0.01, 40)}
    rising = {rank.chain: (rank.rank, rank.low, rank.high) for rank in ranks(values, numbered(40))}
    assert rising == {"b": (2, 2, 3), "a": (1, 1, 1), "twin": (2, 2, 3), "c": (4, 4, 4)}
    falling = {rank.chain: (rank.rank, rank.low, rank.high) for rank in ranks(values, numbered(40), best=Best.HIGHEST)}
    assert falling == {"b": (2, 2, 3), "a": (4, 4, 4), "twin": (2, 2, 3), "c": (1, 1, 1)}


def test_without_enough_images_or_numbers_there_is_no_interval_or_no_rank() -> None:
    """Below 30 images ranks stand without intervals; a chain with a missing number is left out of both."""
    rng = np.random.default_rng(9)
    values = {chain: rng.normal(0, 1, 29) for chain in "abc"}
    assert [(rank.low, rank.high, rank.note) for rank in ranks(values, numbered(29))] == [
        (None, None, "n too small")
    ] * 3
    values = {chain: rng.normal(0, 1, 40) for chain in "abc"}
    values["b"][7] = np.nan
    got = ranks(values, numbered(40))
    assert [(rank.note, rank.rank is None) for rank in got] == [("", False), ("undefined", True), ("", False)]
    assert {rank.high for rank in got} == {2, None}
    compared = compare(values, numbered(40))
    assert [np.isnan(pair.flips) for pair in compared] == [True, False, True]
    assert compared[0].difference.note == "undefined"
    alone = stats.wilcoxon(values["a"] - values["c"]).pvalue
    assert compared[1].wilcoxon == pytest.approx(alone)
    for function in (compare, ranks):
        with pytest.raises(ScoresError, match="at least two chains"):
            function({"a": np.ones(3)}, numbered(3))
        with pytest.raises(ScoresError, match="chain b has 2 rows and the images are 3"):
            function({"a": np.ones(3), "b": np.ones(2)}, numbered(3))
        with pytest.raises(ScoresError, match="at least one image"):
            function({"a": np.ones(0), "b": np.ones(0)}, [])
