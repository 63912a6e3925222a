"""The functions of the page's script against NumPy and SciPy, on grids and made samples."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy import special, stats
from tests.clients.report.proof.headless import evaluated

from scoreguard_client.report.proof.script import library
from scoreguard_client.report.text import number
from scoreguard_client.scores.draws import draws, hashed

RNG = np.random.default_rng(3)
SHAPES = (0.5, 1.0, 2.5, 7.0, 60.0, 1234.5, 20_000.0)
SHARES = (1e-9, 0.025, 0.3, 0.5, 0.975, 1 - 1e-9)
FREEDOMS = (1, 2, 5, 29, 58, 998, 50_000)
SAMPLES = [np.round(RNG.normal(0, 3, count), digits) for count in (1, 2, 7, 8, 9, 129, 1000) for digits in (0, 12)]
WORDS = (0, 1, 2, 999, 65_536, 2**31, 2**32 - 1)
RESAMPLINGS = ((1, 3, 0), (7, 40, 0), (30, 1000, 1), (1000, 20, 0), (70_000, 2, 2**32 - 1))

ASKED = """
async function answer() {
  const { shapes, shares, freedoms, samples, words: numbers, resamplings: kinds, xs } = ASKED;
  return {
    gamma: shapes.map(logGamma),
    beta: shapes.map((a) => shapes.map((b) => xs.map((x) => incompleteBeta(x, a, b)))),
    inverse: shapes.map((a) => shapes.map((b) => shares.map((share) => inverseIncompleteBeta(a, b, share)))),
    student: freedoms.map((freedom) => studentQuantile(0.975, freedom)),
    sum: samples.map((values) => sum(values)),
    ranks: samples.map((values) => [...ranks(values)]),
    quantiles: samples.map((values) => shares.map((share) => quantile(Float64Array.from(values).sort(), share))),
    hashed: numbers.map((first) => numbers.map((second) => hashed(4294967295, first, second))),
    draws: kinds.map((kind) => [...drawn(...kind)]),
    texts: samples.map((values) => values.map((value) => [0, 1, 3].map((digits) => numberText(value / 7, digits)))),
  };
}
"""


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the browser answers, all at once."""
    asked = {
        "shapes": SHAPES,
        "shares": SHARES,
        "freedoms": FREEDOMS,
        "samples": [sample.tolist() for sample in SAMPLES],
        "words": WORDS,
        "resamplings": RESAMPLINGS,
        "xs": [0, 1e-6, 0.01, 0.2, 0.5, 0.77, 0.999, 1],
    }
    script = f"const ASKED = {json.dumps(asked)};\n{library()}\n{ASKED}"
    answered: dict[str, Any] = evaluated(script, "", tmp_path_factory.mktemp("functions"))
    return answered | {"xs": asked["xs"]}


def test_the_incomplete_beta_function_is_scipys(given: dict[str, Any]) -> None:
    """From the half of an image to twenty thousand, over the whole range."""
    np.testing.assert_allclose(given["gamma"], special.gammaln(SHAPES), rtol=1e-13, atol=1e-13)
    a, b, x = np.meshgrid(SHAPES, SHAPES, given["xs"], indexing="ij")
    np.testing.assert_allclose(given["beta"], special.betainc(a, b, x), rtol=1e-8, atol=1e-12)


def test_its_inverse_is_scipys(given: dict[str, Any]) -> None:
    """Where a share interval ends, to ten digits."""
    a, b, share = np.meshgrid(SHAPES, SHAPES, SHARES, indexing="ij")
    np.testing.assert_allclose(given["inverse"], special.betaincinv(a, b, share), rtol=1e-7, atol=1e-10)


def test_students_quantile_is_scipys(given: dict[str, Any]) -> None:
    """From two images on."""
    np.testing.assert_allclose(given["student"], stats.t.ppf(0.975, FREEDOMS), rtol=1e-11)


def test_sums_are_numpys_to_the_last_digit(given: dict[str, Any]) -> None:
    """Added in its order, so that the sign of a difference of means is the same."""
    assert [float(value) for value in given["sum"]] == [float(np.sum(sample)) for sample in SAMPLES]


def test_ranks_and_quantiles_are_theirs(given: dict[str, Any]) -> None:
    """Ties share a rank; quantiles are linear between two values."""
    for sample, ranks, quantiles in zip(SAMPLES, given["ranks"], given["quantiles"], strict=True):
        np.testing.assert_array_equal(ranks, stats.rankdata(sample))
        np.testing.assert_allclose(quantiles, np.quantile(sample, SHARES), rtol=1e-14, atol=1e-14)


def test_the_hash_is_pythons(given: dict[str, Any]) -> None:
    """Of small and large words, with the largest seed."""
    words = np.array(WORDS, dtype=np.uint32)
    np.testing.assert_array_equal(given["hashed"], hashed(2**32 - 1, words[:, None], words[None, :]))


def test_the_draws_are_pythons(given: dict[str, Any]) -> None:
    """Every image of every resample, from one image to seventy thousand."""
    for (count, resamples, seed), images in zip(RESAMPLINGS, given["draws"], strict=True):
        lines = np.array(images).reshape(resamples, count)
        counts = np.stack([np.bincount(line, minlength=count) for line in lines])
        np.testing.assert_array_equal(counts, draws(count, resamples, seed))


def test_numbers_are_written_as_python_writes_them(given: dict[str, Any]) -> None:
    """No minus before a zero; halves aside, which no division by seven gives."""
    for sample, texts in zip(SAMPLES, given["texts"], strict=True):
        assert texts == [[number(value / 7, digits) for digits in (0, 1, 3)] for value in sample.tolist()]
