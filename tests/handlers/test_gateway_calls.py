"""The public methods through a real gRPC server with the local backend."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio
from gateways import Line, connected, details_of, eventually, failure_of, metrics_of, request, slow_request, unpack
from google.rpc import code_pb2
from tiny_archives import padded_png, png, write_tiny_archive

from scoreguard.v1.archive import Archive
from scoreguard.v1.codec import from_tensor
from scoreguard.v1.scoring_pb2 import (
    DefenceStep,
    Image,
    ListMetricsRequest,
    PurifyRequest,
    ScoreDefendedBatchRequest,
    ScoreDefendedRequest,
    ScoreDefendedStreamRequest,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with two metrics."""
    folder = tmp_path_factory.mktemp("store")
    for metric in ("bright", "dark"):
        write_tiny_archive(folder, metric)
    return folder


@pytest_asyncio.fixture
async def line(store: Path) -> AsyncIterator[Line]:
    """A gateway for one test."""
    async with connected(store) as running:
        yield running


def expected_score(value: int, metric: str, factor: float = 1.0) -> float:
    """The score of a grey image, by hand."""
    bright = 100 * min(1.0, value / 255 * factor)
    return bright if metric == "bright" else 100 - bright


@pytest.mark.parametrize("metric", ["bright", "dark"])
@pytest.mark.parametrize(("chain", "factor"), [("none", 1.0), ("gain:factor=0.5", 0.5), ("gain:factor=2+gain", 2.0)])
async def test_a_score_is_the_metric_of_the_purified_image(line: Line, metric: str, chain: str, factor: float) -> None:
    """Each metric behind each chain gives what numpy gives, and the caller's request_id comes back."""
    response = await line.stub.ScoreDefended(
        request(200, metric=metric, chain=chain, request_id="mine", return_undefended_score=True)
    )
    assert response.score == pytest.approx(expected_score(200, metric, factor), abs=1e-3)
    assert response.undefended_score == pytest.approx(expected_score(200, metric), abs=1e-3)
    assert response.higher_is_better == (metric == "bright")
    assert response.request_id == "mine"
    assert response.timings[0].stage == "queue"


@pytest.mark.parametrize("metric", ["", "dark"])
async def test_purify_returns_the_purified_image(line: Line, metric: str) -> None:
    """Purify needs no metric, and gives exactly what the metric would have scored."""
    steps = [DefenceStep(name="gain", parameters={"factor": 0.5})]
    response = await line.stub.Purify(PurifyRequest(image=Image(encoded=png(100)), defences=steps, metric=metric))
    np.testing.assert_allclose(from_tensor(response.purified_image.tensor), 100 / 255 / 2, atol=1e-6)


BAD_REQUESTS = {
    "no metric": (request(metric=""), code_pb2.INVALID_ARGUMENT, "metric", "bright, dark"),
    "unknown metric": (request(metric="brigth"), code_pb2.NOT_FOUND, "metric", "did you mean bright?"),
    "unknown defence": (request(chain="gian"), code_pb2.NOT_FOUND, "defences[0].name", "did you mean gain?"),
    "out of range": (request(chain="gain:factor=3"), code_pb2.INVALID_ARGUMENT, "factor", "0 to 2"),
    "unknown parameter": (request(chain="gain:facter=1"), code_pb2.INVALID_ARGUMENT, "facter", "factor"),
    "has no image": (ScoreDefendedRequest(metric="bright"), code_pb2.INVALID_ARGUMENT, "image", "has no image"),
    "not an image": (
        ScoreDefendedRequest(metric="bright", image=Image(encoded=b"hello")), code_pb2.INVALID_ARGUMENT, "image", "",
    ),
    "too small": (request(size=4), code_pb2.INVALID_ARGUMENT, "image", "8"),
    "kernel even": (
        request(chain="gain+filter:kernel=4"), code_pb2.INVALID_ARGUMENT, "defences[1].parameters.kernel", "3, 5, 9",
    ),
    "piece too large": (
        request(chain="piece:size=20+piece:size=21"), code_pb2.INVALID_ARGUMENT, "defences[1].parameters.size",
        "piece:size=21 (step 2) is larger than the image, 20 x 20 there: use at most 20",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_REQUESTS)
async def test_bad_input_gets_its_code_and_names_the_field(line: Line, case: str) -> None:
    """Every kind of bad request has the canonical code, one line of text, ErrorInfo and the field."""
    message, code, field, text = BAD_REQUESTS[case]
    error = await failure_of(line.stub.ScoreDefended(message))
    details = details_of(error)
    assert error.code().value[0] == code
    assert text in (error.details() or "") and "\n" not in (error.details() or "")
    assert details["ErrorInfo"].domain == "scoreguard"
    assert field in details["BadRequest"].field_violations[0].field


async def test_purify_without_a_defence_is_refused(line: Line) -> None:
    """A purification of nothing is a mistake of the caller."""
    error = await failure_of(line.stub.Purify(PurifyRequest(image=Image(encoded=png(1)))))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


def mixed_requests() -> list[tuple[Any, int]]:
    """Good and bad items by turns, each with its code."""
    good = [(request(value, metric=metric), code_pb2.OK) for value in (10, 200) for metric in ("bright", "dark")]
    bad = [(message, code) for message, code, _, _ in BAD_REQUESTS.values()]
    return [item for pair in zip(good * 2, bad, strict=False) for item in pair]


def codes_of(results: list[Any]) -> list[int]:
    """Code of each result."""
    return [result.status.code if result.WhichOneof("result") == "status" else code_pb2.OK for result in results]


async def test_a_bad_item_of_a_batch_harms_no_other(line: Line) -> None:
    """A batch answers in order, each item with its own score or status and details."""
    items = mixed_requests()
    response = await line.stub.ScoreDefendedBatch(ScoreDefendedBatchRequest(requests=[item for item, _ in items]))
    assert codes_of(response.results) == [code for _, code in items]
    statuses = [result.status for result in response.results if result.WhichOneof("result") == "status"]
    assert all("ErrorInfo" in unpack(status.details) for status in statuses)


async def test_a_stream_answers_in_order_with_a_status_for_each_item(line: Line) -> None:
    """Slow and fast, good and bad items come back in the order in which they were sent."""
    items = [(request(10, chain="slow", size=256), code_pb2.OK), *mixed_requests()] * 3

    async def send() -> AsyncIterator[ScoreDefendedStreamRequest]:
        for index, (item, _) in enumerate(items):
            named = ScoreDefendedRequest()
            named.CopyFrom(item)
            named.request_id = str(index)
            yield ScoreDefendedStreamRequest(request=named)

    results = [message.result async for message in line.stub.ScoreDefendedStream(send())]
    assert codes_of(results) == [code for _, code in items]
    names = [(i, r.response.request_id) for i, r in enumerate(results) if r.WhichOneof("result") == "response"]
    assert all(str(index) == name for index, name in names)


async def test_a_stream_reads_no_further_than_its_window(line: Line) -> None:
    """A caller that does not read its answers is not read from either: memory stays bounded."""
    sent = 0
    padded = ScoreDefendedRequest(metric="bright", image=Image(encoded=padded_png(51, 4000)), request_id="mine")

    async def send() -> AsyncIterator[ScoreDefendedStreamRequest]:
        nonlocal sent
        for _ in range(3000):
            sent += 1
            yield ScoreDefendedStreamRequest(request=padded)

    call = line.stub.ScoreDefendedStream(send())
    first = await call.read()
    assert first.result.response.request_id
    for _ in range(5):
        await line.stub.ListMetrics(ListMetricsRequest())
    assert sent < 3000
    call.cancel()


async def test_list_metrics_says_what_the_archives_say(line: Line, store: Path) -> None:
    """Facts come from the manifests, the digest is that of the file."""
    response = await line.stub.ListMetrics(ListMetricsRequest())
    assert [metric.facts.name for metric in response.metrics] == ["bright", "dark"]
    assert not response.gradients
    for metric in response.metrics:
        path = store / f"{metric.facts.name}.mar"
        assert metric.archive_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        names = [facts.name for facts in metric.defences]
        assert names == ["gain", "piece", "filter", "slow", "broken", "huge", "log"]
        assert metric.facts == Archive(path).manifest.metric.facts


async def test_a_message_above_the_limit_names_both_sizes(store: Path) -> None:
    """Too large a request gets RESOURCE_EXHAUSTED with its size and the limit, and the next one is served."""
    async with connected(store, max_message_bytes=100_000) as line:
        big = ScoreDefendedRequest(metric="bright", image=Image(encoded=bytes(200_000)))
        error = await failure_of(line.stub.ScoreDefended(big))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert str(big.ByteSize()) in (error.details() or "") and "100000" in (error.details() or "")
        assert (await line.stub.ScoreDefended(request())).score == pytest.approx(20, abs=1e-3)


async def test_a_call_that_ran_out_of_time_is_counted_as_such(store: Path) -> None:
    """Whether gRPC or the gateway sees the deadline first: DEADLINE_EXCEEDED on the metrics page, not CANCELLED."""
    async with connected(store, metrics_port=0) as line:
        for _ in range(5):
            error = await failure_of(line.stub.ScoreDefended(slow_request(20, size=512), timeout=0.3))
            assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await eventually(
            lambda: _shows(line, 'scoreguard_calls_total{code="DEADLINE_EXCEEDED",method="ScoreDefended"} 5.0')
        )


async def _shows(line: Line, text: str) -> bool:
    return text in await metrics_of(line)


@pytest.mark.parametrize("given", ["x", "-1", "9" * 30, "²", "1.5", ""])
async def test_a_number_of_attempts_that_is_none_counts_as_the_first(line: Line, given: str) -> None:
    """GRPC's own metadata may be written by anybody; nonsense in it is no reason to fail."""
    metadata = [("grpc-previous-rpc-attempts", given.encode("ascii", "ignore").decode())]
    assert (await line.stub.ScoreDefended(request(), metadata=metadata)).attempts == 1
