"""Smoothing through a real gateway: its answer, its errors, and its neighbours."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio
from gateways import Line, connected, details_of, failure_of, request
from google.rpc import code_pb2
from PIL import Image
from tiny_archives import png, write_tiny_archive

from scoreguard.chain.smoothing import noisy_copy
from scoreguard.v1 import scoring_pb2
from scoreguard.v1.scoring_pb2 import ScoreDefendedBatchRequest


@pytest_asyncio.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    """A gateway for one test."""
    write_tiny_archive(tmp_path)
    async with connected(tmp_path, grace_seconds=0.5) as running:
        yield running


async def test_a_smoothed_score_comes_with_its_certificate(line: Line) -> None:
    """The median of a hundred copies that numpy makes, and the bounds among them."""
    smoothing = scoring_pb2.Smoothing(samples=100, sigma=0.2, radius=0.1)
    answer = await line.stub.ScoreDefended(request(100, chain="gain:factor=0.5", seed=3, smoothing=smoothing))
    with Image.open(io.BytesIO(png(100))) as opened:
        planes = np.asarray(opened, np.float32).transpose(2, 0, 1) / np.float32(255)
    means = sorted(50 * noisy_copy(planes, 0.2, 3, place)[0].mean(dtype=np.float64) for place in range(100))
    assert answer.score == pytest.approx(np.median(means), abs=1e-3)
    proven = answer.certificate
    assert proven.lower == pytest.approx(means[proven.lower_rank - 1], abs=1e-3)
    assert proven.upper == pytest.approx(means[proven.upper_rank - 1], abs=1e-3)
    assert [timing.stage for timing in answer.timings] == ["queue", "decode", "smoothing"]


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("samples", 10, "at least 17"),
        ("samples", 100_001, "from 1 to 100000"),
        ("sigma", -1.0, "above 0"),
        ("radius", float("nan"), "finite"),
        ("confidence", 1.0, "below 1"),
    ],
)
async def test_a_smoothing_that_proves_nothing_is_refused(line: Line, option: str, value: float, text: str) -> None:
    """INVALID_ARGUMENT, one line, the field, before any worker is asked."""
    options: dict[str, Any] = {option: value}
    smoothing = scoring_pb2.Smoothing(**options)
    error = await failure_of(line.stub.ScoreDefended(request(smoothing=smoothing)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert text in (error.details() or "") and "\n" not in (error.details() or "")
    assert details_of(error)["BadRequest"].field_violations[0].field == f"smoothing.{option}"


async def test_the_items_of_a_batch_are_smoothed_each_for_itself(line: Line) -> None:
    """Smoothed, plain and refused items stand side by side."""
    smoothing = scoring_pb2.Smoothing(samples=40)
    items = [
        request(51, smoothing=smoothing, seed=1),
        request(51),
        request(51, smoothing=scoring_pb2.Smoothing(samples=5)),
    ]
    results = (await line.stub.ScoreDefendedBatch(ScoreDefendedBatchRequest(requests=items))).results
    assert results[0].response.HasField("certificate")
    assert results[1].response.score == pytest.approx(20, abs=1e-3)
    assert not results[1].response.HasField("certificate")
    assert results[2].status.code == code_pb2.INVALID_ARGUMENT


async def test_the_callers_deadline_ends_it(line: Line) -> None:
    """A hundred thousand copies do not fit half a second, and the worker is free again soon after."""
    slow = request(size=128, smoothing=scoring_pb2.Smoothing(samples=100_000))
    error = await failure_of(line.stub.ScoreDefended(slow, timeout=0.5))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    async with asyncio.timeout(10):
        while line.gateway.router.dispatchers["bright"].running:
            await asyncio.sleep(0.01)


async def test_a_cheap_request_passes_a_smoothed_one(line: Line) -> None:
    """One of the two workers smooths; the other answers everybody else."""
    slow = request(size=128, smoothing=scoring_pb2.Smoothing(samples=100_000))
    smoothed = asyncio.create_task(failure_of(line.stub.ScoreDefended(slow, timeout=20)))
    answers = await asyncio.gather(*(line.stub.ScoreDefended(request(51)) for _ in range(20)))
    assert not smoothed.done()
    assert [answer.score for answer in answers] == pytest.approx([20] * 20, abs=1e-3)
    smoothed.cancel()
