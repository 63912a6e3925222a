"""Draws of the bootstrap: they are the hash that they say they are, uniform, and independent between resamples."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from scipy import stats

from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.draws import draws, hashed

TAIL = 1e-4
"""A test of right draws may fail by chance once in ten thousand; draws are fixed, so it fails always or never."""


def murmur3(text: bytes, seed: int) -> int:
    """MurmurHash3 (x86, 32 bits) of any text, byte by byte in Python's whole numbers, after its description."""

    def rotated(word: int, bits: int) -> int:
        return (word << bits | word >> (32 - bits)) % 2**32

    whole = len(text) // 4 * 4
    state, words = seed, [int.from_bytes(text[at : at + 4], "little") for at in range(0, whole, 4)]
    for word in words:
        state ^= rotated(word * 0xCC9E2D51 % 2**32, 15) * 0x1B873593 % 2**32
        state = (rotated(state, 13) * 5 + 0xE6546B64) % 2**32
    state ^= rotated(int.from_bytes(text[whole:], "little") * 0xCC9E2D51 % 2**32, 15) * 0x1B873593 % 2**32
    state ^= len(text)
    state = (state ^ state >> 16) * 0x85EBCA6B % 2**32
    state = (state ^ state >> 13) * 0xC2B2AE35 % 2**32
    return state ^ state >> 16


@pytest.mark.parametrize(
    ("text", "seed", "expected"),
    [
        (b"", 1, 0x514E28B7),
        (b"\xff\xff\xff\xff", 0, 0x76293B50),
        (b"\x21\x43\x65\x87", 0, 0xF55B516B),
        (b"\x21\x43\x65\x87", 0x5082EDEE, 0x2362F9DE),
        (b"Hello, world!", 0x9747B28C, 0x24884CBA),
    ],
)
def test_the_reference_gives_the_published_values(text: bytes, seed: int, expected: int) -> None:
    """Vectors that implementations of MurmurHash3 are compared by."""
    assert murmur3(text, seed) == expected


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**40 + 7])
def test_each_draw_is_the_hash_of_its_two_numbers(seed: int) -> None:
    """Small and large numbers, compared with the hash of their bytes; of a seed the lowest 32 bits count."""
    numbers = np.array([0, 1, 2, 999, 65_536, 2**31, 2**32 - 1], dtype=np.uint32)
    mixed = hashed(seed, numbers[:, None], numbers[None, :])
    for row, first in enumerate(numbers.tolist()):
        for column, second in enumerate(numbers.tolist()):
            assert int(mixed[row, column]) == murmur3(struct.pack("<II", first, second), seed % 2**32)


@pytest.mark.parametrize(("count", "resamples"), [(1, 5), (7, 40), (1000, 3), (130_000, 2)])
def test_a_resample_counts_the_images_that_its_draws_fall_on(count: int, resamples: int) -> None:
    """The floor of the hash's share of the images, counted one by one for a few resamples."""
    drawn = draws(count, resamples, 3)
    assert drawn.shape == (resamples, count)
    for number in range(min(resamples, 2)):
        expected = np.zeros(count)
        for index in range(count):
            expected[murmur3(struct.pack("<II", number, index), 3) * count // 2**32] += 1
        np.testing.assert_array_equal(drawn[number], expected)


@pytest.mark.parametrize("count", [6, 30, 97, 1000])
def test_images_are_drawn_equally_often(count: int) -> None:
    """Chi squared of the totals of a thousand resamples, neither too large nor too small."""
    totals = draws(count, 1000).sum(axis=0)
    p = stats.chisquare(totals).pvalue
    assert TAIL < p < 1 - TAIL


@pytest.mark.parametrize("count", [6, 30, 97])
def test_an_image_is_in_a_resample_as_often_as_chance_has_it(count: int) -> None:
    """How many times, over all images and resamples: the binomial distribution of count draws."""
    drawn = draws(count, 2000, 5).ravel()
    times = np.arange(6)
    seen = np.array([*((drawn == number).sum() for number in times), (drawn > times[-1]).sum()])
    kind = stats.binom(count, 1 / count)
    expected = np.append(kind.pmf(times), kind.sf(times[-1])) * len(drawn)
    kept = expected > 5
    seen, expected = seen[kept], expected[kept]
    # Counts of one resample add up to a constant, so they vary less than independent ones: only too large is wrong.
    assert stats.chisquare(seen, expected * seen.sum() / expected.sum()).pvalue > TAIL


@pytest.mark.parametrize("seed", [0, 1, 77])
def test_resamples_know_nothing_of_each_other(seed: int) -> None:
    """Correlations of all pairs of resamples are as small as chance makes them, and so are those of neighbours."""
    count, resamples = 200, 400
    drawn = draws(count, resamples, seed)
    correlations = np.asarray(np.corrcoef(drawn))[np.triu_indices(resamples, 1)]
    assert np.abs(correlations).max() < 6 / np.sqrt(count)
    assert correlations.std() == pytest.approx(1 / np.sqrt(count - 1), rel=0.02)
    neighbours = np.asarray(np.corrcoef(drawn))[np.arange(resamples - 1), np.arange(1, resamples)]
    assert abs(neighbours.mean()) < 4 / np.sqrt(count * resamples)


def test_draws_within_a_resample_are_independent_of_their_places() -> None:
    """Which image the i-th and the (i + 1)-th draw fall on, of 16: every pair equally often."""
    mixed = hashed(0, np.arange(500, dtype=np.uint32)[:, None], np.arange(200, dtype=np.uint32)[None, :]) >> 28
    pairs = np.bincount((mixed[:, :-1] * 16 + mixed[:, 1:]).ravel().astype(np.intp), minlength=256)
    assert TAIL < stats.chisquare(pairs).pvalue < 1 - TAIL


def test_the_bootstrap_error_of_a_mean_is_that_of_theory() -> None:
    """The variance of resampled means is the sample's variance over its size, as for any right bootstrap."""
    values = np.random.default_rng(2).exponential(1, 50)
    means = Clusters([str(number) for number in range(50)], resamples=20_000).draws @ values / 50
    assert means.mean() == pytest.approx(values.mean(), abs=4 * values.std() / np.sqrt(50 * 20_000))
    assert means.std() == pytest.approx(values.std() / np.sqrt(50), rel=0.03)


def test_equal_seeds_give_equal_resamples_and_others_give_others() -> None:
    """So a report is the same bytes again."""
    np.testing.assert_array_equal(draws(40, 10, 1), draws(40, 10, 1))
    assert (draws(40, 10, 1) != draws(40, 10, 2)).any()
