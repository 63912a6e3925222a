"""NaN and infinity are that item's error by name, whichever way they come: never a score, and never in JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from gateways import Line, connected, details_of, failure_of, request
from google.rpc import code_pb2
from tiny_archives import DARKEST, png, write_tiny_archive

from scoreguard.v1.archive import Archive
from scoreguard.v1.scoring_pb2 import (
    Image,
    PurifyRequest,
    ScoreDefendedBatchRequest,
    ScoreDefendedStreamRequest,
    Smoothing,
)
from scoreguard.v1.spec import parse_chain
from scoreguard.v1.worker_pb2 import WorkerRequest, WorkItem, WorkResult
from scoreguard_handlers.config import WorkerConfig
from scoreguard_handlers.errors import NotFiniteError
from scoreguard_handlers.torchserve.http_form import write_answer
from scoreguard_handlers.worker.finite import check_finite
from scoreguard_handlers.worker.worker import Worker

BLACK, GREY = 0, 51
ROOT = 100 * math.sqrt(GREY / 255 - DARKEST)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A metric without a score for dark images, and one that always has one."""
    folder = tmp_path_factory.mktemp("finite")
    write_tiny_archive(folder, "root")
    write_tiny_archive(folder, "bright")
    return folder


@pytest.fixture(scope="module")
def worker(store: Path) -> Worker:
    """The worker of the metric that lacks a score for dark images, with batches."""
    return Worker.load(Archive(store / "root.mar"), WorkerConfig(graph_batch=3))


@pytest.mark.parametrize(
    ("fields", "stage"),
    [
        ({}, "metric"),
        ({"chain": "gain:factor=2", "return_undefended_score": True}, "metric"),
        ({"chain": "log"}, "log"),
        ({"chain": "gain+log", "metric": "bright"}, "log"),
        ({"smoothing": Smoothing(samples=100, sigma=1e-6, radius=1e-9)}, "smoothing"),
    ],
    ids=["score", "undefended", "purified", "chain", "certificate"],
)
async def test_a_score_that_is_no_number_is_an_error_by_name(store: Path, fields: dict[str, Any], stage: str) -> None:
    """INTERNAL with the stage, for the score, f(x), what a step gives, and any noisy copy."""
    async with connected(store) as line:
        error = await failure_of(line.stub.ScoreDefended(request(BLACK, **{"metric": "root", **fields})))
        assert error.code() is grpc.StatusCode.INTERNAL
        assert "no finite numbers for this image" in (error.details() or "")
        info = details_of(error)["ErrorInfo"]
        assert (info.reason, info.metadata["stage"]) == ("NOT_FINITE", stage)
        assert (await line.stub.ScoreDefended(request(GREY, metric="root"))).score == pytest.approx(ROOT, rel=1e-4)


async def test_a_purified_image_holds_no_infinity(store: Path) -> None:
    """Purify is refused like a score."""
    async with connected(store) as line:
        steps = [step.to_message() for step in parse_chain("log")]
        error = await failure_of(
            line.stub.Purify(PurifyRequest(image=Image(encoded=png(BLACK)), metric="bright", defences=steps))
        )
        assert details_of(error)["ErrorInfo"].reason == "NOT_FINITE"


async def _batch(line: Line, messages: list[Any]) -> list[Any]:
    return list((await line.stub.ScoreDefendedBatch(ScoreDefendedBatchRequest(requests=messages))).results)


async def _stream(line: Line, messages: list[Any]) -> list[Any]:
    sent = iter([ScoreDefendedStreamRequest(request=message) for message in messages])
    return [response.result async for response in line.stub.ScoreDefendedStream(sent)]


@pytest.mark.parametrize("way", [_batch, _stream])
async def test_it_is_the_error_of_its_item_alone(store: Path, way: Any) -> None:
    """In a batch and in a stream the images before and after have their scores."""
    async with connected(store) as line:
        results = await way(line, [request(value, metric="root") for value in (GREY, BLACK, GREY)])
    assert [results[i].response.score for i in (0, 2)] == pytest.approx([ROOT, ROOT], rel=1e-4)
    assert results[1].status.code == code_pb2.INTERNAL and "metric 'root'" in results[1].status.message


def test_neighbours_in_one_graph_run_keep_their_scores(worker: Worker) -> None:
    """Where images run as one batch too."""
    items = [WorkItem(score=request(value, metric="root")) for value in (GREY, BLACK, GREY)]
    first, middle, last = worker.run(WorkerRequest(items=items)).results
    assert [first.score.score, last.score.score] == pytest.approx([ROOT, ROOT], rel=1e-4)
    assert middle.status.code == code_pb2.INTERNAL


def test_json_says_the_error_and_holds_no_nan(worker: Worker) -> None:
    """HTTP 500 with a sentence; and even a result that should not exist is not written as NaN."""
    (result,) = worker.run(WorkerRequest(items=[WorkItem(score=request(BLACK, metric="root"))])).results
    impossible = WorkResult()
    impossible.score.score = math.nan
    for outcome, problem in ((result, "no finite numbers"), (impossible, "not a finite number")):
        answer = write_answer(outcome)
        assert answer.status == 500
        assert problem in json.loads(answer.body, parse_constant=pytest.fail)["error"]["message"]


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_one_wrong_value_among_millions_is_found(wrong: float) -> None:
    """Infinities of both signs too, which add up to NaN; large finite values are no error."""
    values = np.full((2, 3, 500, 400), 3e38, np.float32)
    check_finite(values, "blur", "an image")
    values[1, 2, 7, 9] = wrong
    values[0, 0, 0, 0] = -wrong
    with pytest.raises(NotFiniteError, match="step 'blur' gave no finite numbers") as caught:
        check_finite(values, "blur", "an image")
    assert caught.value.metadata == {"stage": "blur", "not_finite": "2"}
