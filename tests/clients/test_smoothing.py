"""Smoothing as a user of the client sees it, against a real gateway."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pytest
import pytest_asyncio
from gateways import connected
from tiny_archives import png, write_tiny_archive

from scoreguard_client import (
    AsyncScoringClient,
    Certificate,
    InvalidRequestError,
    PreparedScore,
    Score,
    ScoreRequest,
    ScoringClient,
    Smoothing,
)
from scoreguard_client.cli import main

GREY = np.full((16, 16, 3), 51, np.uint8)
SMALL = Smoothing(samples=101, sigma=0.1, radius=0.02, confidence=0.99)


@pytest_asyncio.fixture
async def target(tmp_path: Path) -> AsyncIterator[str]:
    """Address of a gateway on small archives."""
    write_tiny_archive(tmp_path / "store")
    async with connected(tmp_path / "store") as line:
        yield line.gateway.address


async def both(target: str, ask: Callable[[ScoringClient], Any], ask_async: Callable[[AsyncScoringClient], Any]) -> Any:
    """The same question to the blocking and to the asyncio client."""

    def blocking() -> Any:
        with ScoringClient(target) as client:
            return ask(client)

    async with AsyncScoringClient(target) as client:
        return await asyncio.to_thread(blocking), await ask_async(client)


async def test_a_score_carries_its_certificate(target: str) -> None:
    """On both clients the same values, from the same seed."""
    options: dict[str, Any] = {"metric": "bright", "seed": 4, "smoothing": SMALL, "return_undefended": True}
    answers = await both(target, lambda c: c.score(GREY, **options), lambda c: c.score(GREY, **options))
    for answer in answers:
        proven = assert_type(answer, Any).certificate
        assert isinstance(proven, Certificate)
        assert (proven.samples, proven.sigma, proven.radius, proven.confidence) == (101, 0.1, 0.02, 0.99)
        assert proven.lower < answer.score < proven.upper
        assert 1 < proven.lower_rank < 51 < proven.upper_rank < 101
        assert proven.joint_confidence == pytest.approx(0.98)
        assert answer.undefended_score == pytest.approx(20, abs=1e-3)
    assert answers[0] == answers[1]


async def test_batches_streams_and_prepared_requests_are_smoothed(target: str) -> None:
    """The option holds for bare images; a request keeps its own."""
    own = ScoreRequest(image=GREY, metric="bright", seed=4)
    prepared = PreparedScore.of(ScoreRequest(image=GREY, metric="bright", seed=4, smoothing=SMALL))
    options: dict[str, Any] = {"metric": "bright", "seed": 4, "smoothing": SMALL}

    async def streamed(client: AsyncScoringClient) -> list[Any]:
        return [outcome async for outcome in client.score_stream([GREY, own], **options)]

    async with AsyncScoringClient(target) as client:
        reference = await client.score_prepared(prepared)
    for outcomes in (
        *await both(
            target, lambda c: c.score_batch([GREY, own], **options), lambda c: c.score_batch([GREY, own], **options)
        ),
        *await both(target, lambda c: list(c.score_stream([GREY, own], **options)), streamed),
    ):
        smoothed, plain = outcomes
        assert smoothed == reference
        assert isinstance(plain, Score) and plain.certificate is None


@pytest.mark.parametrize(
    ("smoothing", "field"),
    [
        (Smoothing(samples=0), "smoothing.samples"),
        (Smoothing(samples=10), "smoothing.samples"),
        (Smoothing(sigma=-0.1), "smoothing.sigma"),
        (Smoothing(radius=math.inf), "smoothing.radius"),
        (Smoothing(confidence=1), "smoothing.confidence"),
    ],
    ids=str,
)
def test_a_smoothing_that_proves_nothing_is_refused_before_any_call(smoothing: Smoothing, field: str) -> None:
    """No server is needed to say so."""
    with ScoringClient("localhost:1") as client, pytest.raises(InvalidRequestError) as caught:
        client.score(GREY, metric="bright", smoothing=smoothing)
    assert caught.value.field == field
    assert "\n" not in str(caught.value)


@pytest.fixture
def photo(tmp_path: Path) -> str:
    """An image whose brightness is 20."""
    path = tmp_path / "grey.png"
    path.write_bytes(png(51))
    return str(path)


async def command(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `scoreguard`."""
    code = await asyncio.to_thread(main, [str(argument) for argument in arguments])
    captured = capfd.readouterr()
    return code, captured.out, captured.err


async def test_the_command_prints_the_bounds(target: str, photo: str, capfd: pytest.CaptureFixture[str]) -> None:
    """For people with their meaning, alone and in the table; for programs as an object."""
    words = ["score", photo, "--metric", "bright", "--target", target, "--smoothing", 40, "--radius", 0.02]
    code, out, _ = await command(capfd, *words, "--undefended")
    assert code == 0
    assert "(undefended 20.0000, gap " in out
    assert " within L2 0.02, each bound with confidence 0.999)" in out
    code, out, _ = await command(capfd, *words, photo)
    assert code == 0
    assert "lower" in out and "upper" in out and "L2 0.02" in out
    code, out, _ = await command(capfd, *words, "--sigma", 0.3, "--confidence", 0.9, "--json")
    record = json.loads(out)
    assert record["certificate"]["lower"] <= record["score"] <= record["certificate"]["upper"]
    assert {name: record["certificate"][name] for name in ("samples", "sigma", "radius", "confidence")} == {
        "samples": 40, "sigma": 0.3, "radius": 0.02, "confidence": 0.9
    }  # fmt: skip


async def test_without_the_option_there_is_no_certificate(
    target: str, photo: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The line is the number alone; the record says null."""
    words = ["score", photo, "--metric", "bright", "--target", target]
    assert (await command(capfd, *words))[1] == "20.0000\n"
    assert json.loads((await command(capfd, *words, "--json"))[1])["certificate"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--smoothing", "10"], "take at least 17"),
        (["--smoothing", "x"], "--smoothing"),
        (["--radius", "0.1"], "--radius goes with --smoothing"),
        (["--smoothing", "100", "--sigma", "2"], "at most 1"),
    ],
    ids=str,
)
async def test_bad_options_are_one_line(
    photo: str, capfd: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    """Exit code 2, nothing on stdout."""
    code, out, err = await command(capfd, "score", photo, "--metric", "bright", "--target", "localhost:1", *options)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
