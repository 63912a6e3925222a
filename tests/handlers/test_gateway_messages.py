"""What callers send that is no request: bytes of something else, too much, half of it; and what that may cost."""

from __future__ import annotations

import asyncio
import logging
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from gateways import connected, details_of, eventually, failure_of, metrics_of, request, slow_request
from google.rpc import code_pb2
from grpc_health.v1 import health_pb2
from raw_http2 import SCORE, STREAM, raw_callers
from serve_command import command, environment
from tiny_archives import padded_png, write_tiny_archive

from scoreguard.v1.limits import LIMITS
from scoreguard.v1.scoring_pb2 import (
    DATA_TYPE_UINT8,
    DefenceStep,
    Image,
    PurifyRequest,
    ScoreDefendedBatchRequest,
    ScoreDefendedRequest,
    ScoreDefendedStreamRequest,
    ScoreDefendedStreamResponse,
    Tensor,
)
from scoreguard_handlers.config import ConnectionConfig

INVALID = grpc.StatusCode.INVALID_ARGUMENT
GARBAGE = b"\xff\xfe this is no message"
UNARY = [
    "/scoreguard.v1.ScoringService/ScoreDefended",
    "/scoreguard.v1.ScoringService/ScoreDefendedBatch",
    "/scoreguard.v1.ScoringService/Purify",
    "/scoreguard.v1.ScoringService/ListMetrics",
    "/scoreguard.v1.GradientService/ScoreGradient",
    "/grpc.health.v1.Health/Check",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with one metric."""
    folder = tmp_path_factory.mktemp("store")
    write_tiny_archive(folder)
    return folder


def raw(channel: grpc.aio.Channel, method: str, data: bytes) -> Any:
    """A call with these bytes as its message."""
    call: Any = channel.unary_unary(method)
    return call(data, timeout=20)


@pytest.mark.parametrize("method", UNARY)
async def test_bytes_that_are_no_message_are_the_callers_mistake(
    store: Path, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Every method says INVALID_ARGUMENT and names what it reads; five calls leave one line in the log."""
    async with connected(store, gradients=True) as line:
        for _ in range(5):
            error = await failure_of(raw(line.channel, method, GARBAGE))
            assert error.code() is INVALID
            assert "bytes are not a" in (error.details() or "")
        assert (await line.stub.ScoreDefended(request())).score == pytest.approx(20, abs=1e-3)
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1 and warnings[0].exc_info is None


@pytest.mark.parametrize(
    "method",
    ["/grpc.health.v1.Health/Watch", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"],
)
async def test_methods_of_others_that_stream_refuse_such_bytes_as_well(store: Path, method: str) -> None:
    """Health's Watch and reflection say INVALID_ARGUMENT."""
    async with connected(store) as line:
        method_call: Any = line.channel.stream_stream(method)
        assert await method_call(iter([GARBAGE]), timeout=20).code() is INVALID


async def test_a_bad_message_of_a_stream_harms_no_other(store: Path) -> None:
    """Among good items, bytes that are no message get INVALID_ARGUMENT at their place."""
    good = ScoreDefendedStreamRequest(request=request()).SerializeToString()
    async with connected(store) as line:
        call: Any = line.channel.stream_stream(STREAM, response_deserializer=ScoreDefendedStreamResponse.FromString)
        answers = [message.result async for message in call(iter([good, GARBAGE, good]), timeout=20)]
    assert [answer.status.code for answer in answers] == [0, code_pb2.INVALID_ARGUMENT, 0]
    assert answers[2].response.score == pytest.approx(20, abs=1e-3)


async def test_a_call_without_a_message_is_refused(store: Path) -> None:
    """A caller that ends the call before the request is told so."""
    async with connected(store) as line:
        error = await failure_of(line.channel.stream_unary(SCORE)(iter([]), timeout=20))
        assert error.code() is INVALID and "without a request" in (error.details() or "")


def step(parameters: int = 0, *, name: str = "gain", parameter: str = "p") -> DefenceStep:
    """A step with many parameters."""
    return DefenceStep(name=name, parameters={f"{parameter}{index}": 1.0 for index in range(parameters)})


def score(*steps: DefenceStep, **fields: Any) -> ScoreDefendedRequest:
    """A request without an image."""
    return ScoreDefendedRequest(**{"metric": "bright", "defences": steps, **fields})


TOO_MUCH: dict[str, tuple[ScoreDefendedRequest, int, str]] = {
    "steps": (score(*[step()] * (LIMITS.steps + 1)), LIMITS.steps, "defences"),
    "parameters": (score(step(LIMITS.parameters + 1)), LIMITS.parameters, "defences[0].parameters"),
    "a million parameters": (score(step(1_000_000)), LIMITS.request_bytes, ""),
    "metric": (score(metric="m" * 200), LIMITS.name_characters, "metric"),
    "defence": (score(step(name="d" * 200)), LIMITS.name_characters, "defences[0].name"),
    "parameter": (score(step(1, parameter="p" * 200)), LIMITS.name_characters, "defences[0].parameters"),
    "request_id": (score(request_id="r" * 257), LIMITS.request_id_characters, "request_id"),
    "long request_id": (score(request_id="r" * 5_000_000), LIMITS.request_bytes, ""),
    "rank": (
        score(image=Image(tensor=Tensor(shape=[1] * 1000))), LIMITS.tensor_dimensions, "image.tensor.shape",
    ),
    "long rank": (score(image=Image(tensor=Tensor(shape=[1] * 1_000_000))), LIMITS.request_bytes, ""),
}  # fmt: skip


@pytest.mark.parametrize("case", TOO_MUCH)
async def test_what_holds_too_much_is_refused_with_both_numbers_at_once(store: Path, case: str) -> None:
    """Each limit: INVALID_ARGUMENT with what was given and the limit; meanwhile health answers."""
    message, limit, field = TOO_MUCH[case]
    async with connected(store) as line:
        check = line.channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        asked = asyncio.ensure_future(failure_of(line.stub.ScoreDefended(message)))
        await asyncio.sleep(0)
        started = time.perf_counter()
        await check(health_pb2.HealthCheckRequest())
        waited = time.perf_counter() - started
        error = await asked
    assert error.code() is INVALID
    assert str(limit) in (error.details() or "")
    details = details_of(error)
    assert details["ErrorInfo"].metadata["limit" if field else "limit_bytes"] == str(limit)
    assert not field or details["BadRequest"].field_violations[0].field == field
    assert waited < 3  # 17 s where the contents were looked at first


@pytest.mark.parametrize(("items", "named"), [(LIMITS.batch_items + 1, "items"), (2_000_000, "image bytes")])
async def test_a_batch_of_too_many_items_is_refused(store: Path, items: int, named: str) -> None:
    """The count is checked before the items, and before objects are made of millions of them."""
    empty = ScoreDefendedBatchRequest(requests=[ScoreDefendedRequest()]).SerializeToString()
    async with connected(store) as line:
        started = time.perf_counter()
        error = await failure_of(raw(line.channel, UNARY[1], empty * items))
        assert time.perf_counter() - started < 3
    assert error.code() is INVALID and named in (error.details() or "")


async def test_a_batch_at_the_limit_is_answered(store: Path) -> None:
    """As many items as are allowed, each with its answer."""
    items = [ScoreDefendedRequest(metric="nothing", request_id=str(index)) for index in range(LIMITS.batch_items)]
    async with connected(store) as line:
        response = await line.stub.ScoreDefendedBatch(ScoreDefendedBatchRequest(requests=items))
    assert [result.status.code for result in response.results] == [code_pb2.NOT_FOUND] * LIMITS.batch_items


ECHOED: dict[str, Any] = {
    "metric": request(metric="\U0001f600" * 120),
    "defence": score(step(name="é" * 128)),
    "parameter": score(DefenceStep(name="gain", parameters={"ü" * 128: 1})),
    "control characters": request(metric="a\r\nb\x00" * 20),
    "shape": ScoreDefendedRequest(
        metric="bright",
        image=Image(tensor=Tensor(shape=[1 << 62] * LIMITS.tensor_dimensions, data_type=DATA_TYPE_UINT8)),
    ),
    "defences": PurifyRequest(image=Image(encoded=b"x"), defences=[step(name="d" * 128)] * LIMITS.steps),
}


@pytest.mark.parametrize("case", ECHOED)
async def test_an_error_echoes_little_of_what_it_was_given(store: Path, case: str) -> None:
    """Whatever the caller sent, the status arrives: below 4 KB with its details, in one printable line."""
    message = ECHOED[case]
    async with connected(store) as line:
        call = line.stub.Purify if isinstance(message, PurifyRequest) else line.stub.ScoreDefended
        error = await failure_of(call(message))
    assert error.code() in {INVALID, grpc.StatusCode.NOT_FOUND}
    assert (error.details() or "").isprintable() and len(error.details() or "") < 400
    assert details_of(error)["ErrorInfo"].domain == "scoreguard"
    trailing = error.trailing_metadata() or ()
    assert sum(len(key) + len(value) for key, value in trailing) < 4096


async def test_a_half_sent_message_is_dropped_in_time(store: Path) -> None:
    """After the stated time the call ends with DEADLINE_EXCEEDED, and others are served meanwhile."""
    async with connected(store, connections=ConnectionConfig(message_seconds=1.5)) as line:
        with raw_callers(line.gateway.address, 3) as callers:
            started = time.perf_counter()
            streams = [caller.call() for caller in callers]
            for caller, stream in zip(callers, streams, strict=True):
                assert await asyncio.to_thread(caller.send_half, stream, 100_000) == 100_004
            assert (await line.stub.ScoreDefended(request())).score == pytest.approx(20, abs=1e-3)
            for caller, stream in zip(callers, streams, strict=True):
                status = await asyncio.to_thread(caller.listen_until_ended, stream, 10)
                assert status == str(code_pb2.DEADLINE_EXCEEDED)
            assert time.perf_counter() - started > 1.4


async def test_a_silent_or_half_sent_stream_is_closed_in_time(store: Path) -> None:
    """A stream that brings no complete message for the stated time ends with DEADLINE_EXCEEDED."""
    async with connected(store, metrics_port=0, connections=ConnectionConfig(stream_idle_seconds=0.5)) as line:
        with raw_callers(line.gateway.address, 2) as (half, silent):
            streams = [(half, half.call(STREAM)), (silent, silent.call(STREAM))]
            await asyncio.to_thread(half.send_half, streams[0][1], 100_000)
            for caller, stream in streams:
                status = await asyncio.to_thread(caller.listen_until_ended, stream, 10)
                assert status == str(code_pb2.DEADLINE_EXCEEDED)
        page = await metrics_of(line)
    ended = re.findall(r'scoreguard_calls_total{code="(\w+)",method="ScoreDefendedStream"} (.*)', page)
    assert ended == [("DEADLINE_EXCEEDED", "2.0")]


async def test_who_finds_no_place_to_arrive_is_refused(store: Path) -> None:
    """Four calls that send nothing hold the places until their time is over; the ninth is told to try again later."""
    limits = ConnectionConfig(unfinished_bytes=1, message_seconds=1)
    async with connected(store, connections=limits) as line:
        with raw_callers(line.gateway.address, 9) as callers:
            calls = [(caller, caller.call()) for caller in callers]
            ended = [await asyncio.to_thread(caller.listen_until_ended, stream, 15) for caller, stream in calls]
    late, full = str(code_pb2.DEADLINE_EXCEEDED), str(code_pb2.RESOURCE_EXHAUSTED)
    assert set(ended) == {late, full} and ended.count(late) >= 4


@pytest.mark.parametrize("streaming", [False, True])
async def test_an_answer_that_nobody_takes_ends_the_connection(store: Path, streaming: bool) -> None:
    """A caller who asks for a large image and never reads it is hung up on in time; others are not disturbed."""
    message = request(chain="gain", size=512, return_purified_image=True)
    async with connected(store, connections=ConnectionConfig(answer_seconds=0.5)) as line:
        with raw_callers(line.gateway.address, 1) as (caller,):
            stream = caller.call(STREAM if streaming else SCORE)
            data = ScoreDefendedStreamRequest(request=message) if streaming else message
            await asyncio.to_thread(caller.send_whole, stream, data.SerializeToString())
            await asyncio.to_thread(caller.listen_until_ended, stream, 10)
            assert caller.is_closed and stream not in caller.ended
        assert (await line.stub.ScoreDefended(message)).score == pytest.approx(20, abs=0.1)


async def test_only_so_many_messages_arrive_at_the_same_time(store: Path) -> None:
    """Beyond the limit the server takes the first kilobytes only, so unfinished messages are bounded in memory."""
    limits = ConnectionConfig(unfinished_bytes=1, message_seconds=30)  # four at the same time
    async with connected(store, connections=limits) as line:
        with raw_callers(line.gateway.address, 6) as callers:
            for caller in callers:
                await asyncio.to_thread(caller.send_half, caller.call(), 2 << 20, 2)
            sent = sorted(caller.sent_bytes for caller in callers)
    assert sent[:2] == pytest.approx([64 << 10] * 2, rel=0.1)
    assert min(sent[2:]) > 2_000_000


async def test_requests_under_way_are_bounded_in_bytes(store: Path) -> None:
    """A large batch beside another is refused with RetryInfo and the numbers; alone it is served."""
    image = Image(encoded=padded_png(51, 200_000))
    batch = ScoreDefendedBatchRequest(requests=[ScoreDefendedRequest(metric="bright", image=image)])
    slow = ScoreDefendedBatchRequest(requests=[*batch.requests, slow_request(4, size=512)])
    async with connected(store, connections=ConnectionConfig(held_bytes=300_000)) as line:
        under_way = asyncio.ensure_future(_await(line.stub.ScoreDefendedBatch(slow)))
        await eventually(lambda: _true(line.gateway.router.dispatchers["bright"].running > 0))
        error = await failure_of(line.stub.ScoreDefendedBatch(batch))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert details_of(error)["RetryInfo"].retry_delay.seconds == 1
        assert details_of(error)["ErrorInfo"].metadata["limit_bytes"] == "300000"
        assert (await line.stub.ScoreDefended(request())).score == pytest.approx(20, abs=1e-3)
        assert len((await under_way).results) == 2
        assert len((await line.stub.ScoreDefendedBatch(batch)).results) == 1


async def _await(call: Any) -> Any:
    return await call


async def _true(value: bool) -> bool:
    return value


async def test_further_streams_than_the_limit_are_refused(store: Path) -> None:
    """RESOURCE_EXHAUSTED with RetryInfo; a place is free again when a stream ends."""
    async with connected(store, connections=ConnectionConfig(open_streams=1)) as line:
        first = line.stub.ScoreDefendedStream()
        await first.write(ScoreDefendedStreamRequest(request=request()))
        await first.read()
        error = await failure_of(_all(line.stub.ScoreDefendedStream(iter([]))))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert details_of(error)["RetryInfo"].retry_delay.seconds == 1
        await first.done_writing()
        assert await first.code() is grpc.StatusCode.OK
        assert await _all(line.stub.ScoreDefendedStream(iter([]))) == []


async def _all(call: Any) -> list[Any]:
    return [message async for message in call]


async def test_further_connections_than_the_limit_are_closed(store: Path) -> None:
    """The server hangs up on the connection that is one too many; the ones before it go on."""
    async with connected(store, host="127.0.0.1", connections=ConnectionConfig(max_connections=2)) as line:
        await line.stub.ScoreDefended(request())
        with raw_callers(line.gateway.address, 3) as callers:
            for caller in callers:
                await asyncio.to_thread(caller.listen, 1)
            assert [caller.is_closed for caller in callers] == [False, True, True]
        assert (await line.stub.ScoreDefended(request())).score == pytest.approx(20, abs=1e-3)


async def test_a_connection_that_never_greets_is_closed(store: Path) -> None:
    """TCP without HTTP/2 ends after the stated time."""
    async with connected(store, connections=ConnectionConfig(handshake_seconds=0.5)) as line:
        host, _, port = line.gateway.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        async with asyncio.timeout(10):
            await reader.read()
        writer.close()


def test_the_memory_of_half_sent_messages_comes_back(store: Path, tmp_path: Path) -> None:
    """Eight messages of 20 MB, each but for its last byte: after the stated time the service is as small as before."""
    settings = tmp_path / "service.yaml"
    settings.write_text("connections:\n  message_seconds: 4\n")
    arguments = command(store, "--config", str(settings))
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as it:
        try:
            assert it.stdout is not None
            address, service = it.stdout.readline().split()[3], psutil.Process(it.pid)
            before = service.memory_info().rss
            with raw_callers(address, 8) as callers:
                calls = [(caller, caller.call()) for caller in callers]
                assert min(caller.send_half(stream, 20 << 20) for caller, stream in calls) > 0
                taken = sum(caller.sent_bytes for caller in callers)
                assert taken > 40 << 20
                for caller, stream in calls:
                    assert caller.listen_until_ended(stream, 20) == str(code_pb2.DEADLINE_EXCEEDED)
                assert _shrinks(service, before + (30 << 20), seconds=10)
        finally:
            it.kill()


def _shrinks(process: psutil.Process, size: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.memory_info().rss < size:
            return True
        time.sleep(0.1)
    return False
