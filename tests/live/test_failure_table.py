"""What plain TorchServe answers wrongly, row by row, answered rightly: the same rows for both backends.

The faults are real: a full queue, work that outlives its caller, a killed worker, an archive that was changed.
"""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from gateways import Line, details_of, failure_of, request, slow_request
from google.rpc import code_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from live_servers import LiveServer, running_server, table_config
from tiny_archives import padded_png, replace_entry, write_tiny_archive

from scoreguard.v1.errors import IntegrityError
from scoreguard.v1.scoring_pb2 import Image, ScoreDefendedBatchRequest, ScoreDefendedRequest
from scoreguard_handlers.errors import StartupError

pytestmark = pytest.mark.live
SERVICE = "scoreguard.v1.ScoringService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
LONG = 100
"""Steps of work for many seconds."""


async def score(line: Line, message: Any, **options: Any) -> float:
    """The score of a request."""
    response = await line.stub.ScoreDefended(message, **options)
    value: float = response.score
    return value


async def wait_for(line: Line, *, running: int, waiting: int) -> None:
    """Wait until the queue looks like this."""
    dispatcher = line.gateway.router.dispatchers["bright"]
    async with asyncio.timeout(20):
        while (dispatcher.running, dispatcher.waiting) != (running, waiting):
            await asyncio.sleep(0.005)


async def health(line: Line) -> int:
    """Readiness, as a probe sees it."""
    stub = health_pb2_grpc.HealthStub(line.channel)
    status: int = (await stub.Check(health_pb2.HealthCheckRequest(service=SERVICE))).status
    return status


async def wait_for_health(line: Line, wanted: int, seconds: float = 40) -> None:
    """Wait until a probe sees this."""
    async with asyncio.timeout(seconds):
        while await health(line) != wanted:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("metric", "code"), [("brigth", grpc.StatusCode.NOT_FOUND), ("", grpc.StatusCode.INVALID_ARGUMENT)]
)
def test_an_unknown_or_missing_metric_is_the_callers_mistake(
    server: LiveServer, metric: str, code: grpc.StatusCode
) -> None:
    """Unknown: NOT_FOUND with near names. Missing: INVALID_ARGUMENT. TorchServe says INTERNAL to both."""

    async def scenario(line: Line) -> None:
        error = await failure_of(line.stub.ScoreDefended(request(metric=metric)))
        assert error.code() is code and "bright" in (error.details() or "")

    server.run(scenario)


def test_a_full_queue_is_resource_exhausted(server: LiveServer) -> None:
    """One running, two waiting, the next is refused with the numbers; the callers before it are not disturbed."""

    async def scenario(line: Line) -> None:
        callers = [asyncio.create_task(score(line, slow_request(2))) for _ in range(3)]
        await wait_for(line, running=1, waiting=2)
        error = await failure_of(line.stub.ScoreDefended(request()))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error.details() == "queue full: 2 waiting, limit 2; try again later"
        assert dict(details_of(error)["ErrorInfo"].metadata)["limit"] == "2"
        assert details_of(error)["RetryInfo"].retry_delay.seconds >= 1
        for value in await asyncio.gather(*callers):
            assert value == pytest.approx(20, abs=0.1)

    server.run(scenario)


def test_a_handler_that_raises_is_internal(torchserve_server: LiveServer) -> None:
    """A bug in the handler is INTERNAL, never UNAVAILABLE: a retry policy would send the poison again."""

    async def scenario(line: Line) -> None:
        error = await failure_of(line.stub.ScoreDefended(request(request_id="raise")))
        assert error.code() is grpc.StatusCode.INTERNAL
        assert "handler raised" in (error.details() or "")
        assert await score(line, request()) == pytest.approx(20, abs=1e-3)

    torchserve_server.run(scenario)


def test_a_handler_out_of_memory_is_resource_exhausted(torchserve_server: LiveServer) -> None:
    """MemoryError in the handler is RESOURCE_EXHAUSTED; TorchServe says INTERNAL."""

    async def scenario(line: Line) -> None:
        error = await failure_of(line.stub.ScoreDefended(request(request_id="memory")))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await score(line, request()) == pytest.approx(20, abs=1e-3)

    torchserve_server.run(scenario)


@pytest.mark.parametrize(
    ("chain", "code"),
    [("gain+broken", grpc.StatusCode.INTERNAL), ("huge", grpc.StatusCode.RESOURCE_EXHAUSTED)],
)
def test_a_graph_that_fails_has_the_code_of_its_fault(server: LiveServer, chain: str, code: grpc.StatusCode) -> None:
    """A stage that breaks is INTERNAL, one that finds no memory RESOURCE_EXHAUSTED; both name themselves."""

    async def scenario(line: Line) -> None:
        error = await failure_of(line.stub.ScoreDefended(request(chain=chain)))
        assert error.code() is code
        assert details_of(error)["ErrorInfo"].metadata["stage"] == chain.rpartition("+")[2]
        assert await score(line, request()) == pytest.approx(20, abs=1e-3)

    server.run(scenario)


def test_a_bad_item_fails_alone(server: LiveServer) -> None:
    """In one batch the bad items have their own codes and the good ones their scores."""
    bad_image = ScoreDefendedRequest(metric="bright", image=Image(encoded=b"not an image"))
    items = [request(51), bad_image, request(102), request(chain="gian"), request(153)]

    async def scenario(line: Line) -> Any:
        return await line.stub.ScoreDefendedBatch(ScoreDefendedBatchRequest(requests=items))

    results = server.run(scenario).results
    assert [result.response.score for result in results[::2]] == pytest.approx([20, 40, 60], abs=1e-3)
    assert [result.status.code for result in results[1::2]] == [code_pb2.INVALID_ARGUMENT, code_pb2.NOT_FOUND]


@pytest.mark.parametrize(
    ("chain", "field", "problem"),
    [
        ("gain+gain:factor=3", "defences[1].parameters.factor", "0 to 2"),
        ("gain+filter:kernel=4", "defences[1].parameters.kernel", "one of 3, 5, 9"),
        ("piece:size=8+filter:kernel=9", "defences[1].parameters.kernel", "larger than the image, 8 x 8 there"),
        ("piece:size=20+piece:size=21", "defences[1].parameters.size", "use at most 20"),
    ],
)
def test_a_bad_step_is_named(server: LiveServer, chain: str, field: str, problem: str) -> None:
    """What is wrong with a step, for the image that reaches it, is the caller's mistake at a field of the request."""

    async def scenario(line: Line) -> None:
        error = await failure_of(line.stub.ScoreDefended(request(chain=chain)))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert problem in (error.details() or "")
        assert details_of(error)["BadRequest"].field_violations[0].field == field
        assert await score(line, request()) == pytest.approx(20, abs=1e-3)

    server.run(scenario)


def test_a_bad_image_is_invalid_argument(server: LiveServer) -> None:
    """What only the worker can find wrong arrives with its code; TorchServe says OK with the error as text."""

    async def scenario(line: Line) -> None:
        message = ScoreDefendedRequest(metric="bright", image=Image(encoded=b"not an image"))
        error = await failure_of(line.stub.ScoreDefended(message))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert details_of(error)["BadRequest"].field_violations[0].field.startswith("image")

    server.run(scenario)


def test_too_large_a_message_names_the_sizes(server: LiveServer) -> None:
    """RESOURCE_EXHAUSTED with the size and the limit; TorchServe resets the stream."""
    big = ScoreDefendedRequest(metric="bright", image=Image(encoded=bytes(5 << 20)))

    async def scenario(line: Line) -> None:
        error = await failure_of(line.stub.ScoreDefended(big))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert str(big.ByteSize()) in (error.details() or "") and str(4 << 20) in (error.details() or "")

    server.run(scenario)


def test_a_message_just_below_the_limit_goes_through(server: LiveServer) -> None:
    """The limit of the gateway is the limit: TorchServe behind it refuses nothing that the gateway let in."""
    padding = (4 << 20) - len(padded_png(51, 0)) - 200
    large = ScoreDefendedRequest(metric="bright", image=Image(encoded=padded_png(51, padding)))

    async def scenario(line: Line) -> None:
        assert await score(line, large) == pytest.approx(20, abs=1e-3)

    server.run(scenario)


def test_an_answer_above_the_limit_is_refused_and_harms_nobody(torchserve_server: LiveServer) -> None:
    """An image may grow on its way back: RESOURCE_EXHAUSTED with both sizes, and TorchServe lives on."""
    message = request(chain="gain", size=1024, return_purified_image=True)

    async def scenario(line: Line) -> None:
        error = await failure_of(line.stub.ScoreDefended(message))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        metadata = details_of(error)["ErrorInfo"].metadata
        assert int(metadata["size_bytes"]) > 1024 * 1024 * 12 and int(metadata["limit_bytes"]) == 5 << 20
        assert await score(line, request()) == pytest.approx(20, abs=1e-3)

    torchserve_server.run(scenario)


def test_work_that_nobody_waits_for_is_stopped(server: LiveServer) -> None:
    """A caller who leaves after 1 s with 10 s and more of work to do delays the next one by a moment, not by 9 s."""

    async def scenario(line: Line) -> tuple[float, float]:
        started = time.perf_counter()
        error = await failure_of(line.stub.ScoreDefended(slow_request(LONG), timeout=1.0))
        gave_up = time.perf_counter() - started
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await score(line, request())
        return gave_up, time.perf_counter() - started - gave_up

    gave_up, next_caller = server.run(scenario)
    assert gave_up == pytest.approx(1, abs=0.5)
    assert next_caller < 2


def test_a_caller_without_a_deadline_gets_the_servers(live_store: Path) -> None:
    """The default deadline answers DEADLINE_EXCEEDED, where TorchServe's own timeout drops the response silently."""
    config = table_config(live_store, "local")
    hasty = replace(config, admission=replace(config.admission, default_deadline_seconds=0.5))
    with running_server(hasty) as server:

        async def scenario(line: Line) -> grpc.aio.AioRpcError:
            return await failure_of(line.stub.ScoreDefended(slow_request(LONG)))

        assert server.run(scenario).code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_cancelled_caller_leaves_the_queue(server: LiveServer) -> None:
    """A caller who hangs up while waiting is forgotten, and the callers behind him move up."""

    async def scenario(line: Line) -> None:
        running = asyncio.create_task(score(line, slow_request(2)))
        await wait_for(line, running=1, waiting=0)
        waiting = line.stub.ScoreDefended(slow_request(LONG))
        behind = asyncio.create_task(score(line, request()))
        await wait_for(line, running=1, waiting=2)
        waiting.cancel()
        await wait_for(line, running=1, waiting=1)
        assert await behind == pytest.approx(20, abs=1e-3)
        assert await running == pytest.approx(20, abs=0.1)

    server.run(scenario)


def test_cancelled_work_is_stopped(server: LiveServer) -> None:
    """Long work whose callers have hung up, in a worker and in the queue, keeps the next caller for a moment only."""

    async def scenario(line: Line) -> float:
        calls = [line.stub.ScoreDefended(slow_request(LONG)) for _ in range(3)]
        await wait_for(line, running=1, waiting=2)
        await asyncio.sleep(1.0)  # on its way into the worker; there is no sign of the arrival
        for call in calls:
            call.cancel()
        started = time.perf_counter()
        await score(line, request())
        return time.perf_counter() - started

    assert server.run(scenario) < 8


def test_a_batch_that_is_cancelled_ends_as_its_items_do(server: LiveServer) -> None:
    """The items under way and those in the queue."""

    async def scenario(line: Line) -> None:
        messages = [slow_request(LONG) for _ in range(2)]
        call = line.stub.ScoreDefendedBatch(ScoreDefendedBatchRequest(requests=messages))
        await wait_for(line, running=1, waiting=1)
        call.cancel()
        await wait_for(line, running=0, waiting=0)

    server.run(scenario)


async def score_again_and_again(line: Line, seconds: float = 30) -> float:
    """What a client with a retry policy does: UNAVAILABLE, and nothing else, is sent again."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                return await score(line, request(), timeout=20)
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE
                await asyncio.sleep(0.2)


def test_a_killed_worker_is_unavailable_and_comes_back(torchserve_server: LiveServer) -> None:
    """Kill -9 in a call: UNAVAILABLE with RetryInfo, so that a client sends it again; then the service recovers."""
    before = torchserve_server.worker_pids

    async def scenario(line: Line) -> None:
        call = line.stub.ScoreDefended(slow_request(LONG), timeout=30)
        await wait_for(line, running=1, waiting=0)
        await asyncio.sleep(0.3)  # on its way into the worker; there is no sign of the arrival
        for pid in before:
            psutil.Process(pid).send_signal(signal.SIGKILL)
        error = await failure_of(call)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert details_of(error)["RetryInfo"].retry_delay.seconds >= 1
        # Health may not have noticed yet; a caller that sends an UNAVAILABLE call again is served all the same.
        assert await score_again_and_again(line) == pytest.approx(20, abs=1e-3)
        await wait_for_health(line, SERVING)

    torchserve_server.run(scenario)
    assert set(torchserve_server.worker_pids).isdisjoint(before)


def test_callers_of_hung_workers_do_not_time_out_for_long(torchserve_server: LiveServer) -> None:
    """Workers that hold every call: within seconds health says NOT_SERVING, or others have taken their place."""
    pids = torchserve_server.worker_pids

    async def scenario(line: Line) -> None:
        await wait_for_health(line, SERVING)
        for pid in pids:
            psutil.Process(pid).suspend()
        try:
            codes = []
            async with asyncio.timeout(20):
                while await health(line) == SERVING and grpc.StatusCode.OK not in codes:
                    codes.append(await line.stub.ScoreDefended(request(), timeout=0.5).code())
            if grpc.StatusCode.OK not in codes:
                error = await failure_of(line.stub.ScoreDefended(request(), timeout=20))
                assert error.code() is grpc.StatusCode.UNAVAILABLE and "RetryInfo" in details_of(error)
        finally:
            for pid in pids:
                with suppress(psutil.NoSuchProcess):
                    psutil.Process(pid).resume()
        assert len(codes) >= 3 and grpc.StatusCode.DEADLINE_EXCEEDED in codes
        assert await score_again_and_again(line) == pytest.approx(20, abs=1e-3)
        await wait_for_health(line, SERVING)

    torchserve_server.run(scenario)


def test_a_crash_loop_is_not_serving(tmp_path: Path) -> None:
    """A worker that cannot load any more turns readiness off, and calls are refused at once instead of hanging."""
    write_tiny_archive(tmp_path / "store")
    with running_server(table_config(tmp_path / "store", "torchserve")) as server:
        unpacked = next(server.gateway.backend.server.folder.rglob("metric.onnx"))  # type: ignore[attr-defined]
        pids = server.worker_pids

        async def scenario(line: Line) -> None:
            await wait_for_health(line, SERVING)
            unpacked.write_bytes(unpacked.read_bytes() + b"changed")
            for pid in pids:
                psutil.Process(pid).send_signal(signal.SIGKILL)
            await wait_for_health(line, NOT_SERVING)
            started = time.perf_counter()
            error = await failure_of(line.stub.ScoreDefended(request(), timeout=20))
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert time.perf_counter() - started < 1

        server.run(scenario)


def test_a_hung_worker_is_replaced_within_seconds(torchserve_server: LiveServer) -> None:
    """What hangs in a library sees no deadline: the worker is ended soon after it, not at the response limit."""
    before = torchserve_server.worker_pids

    async def scenario(line: Line) -> None:
        await wait_for_health(line, SERVING)
        error = await failure_of(line.stub.ScoreDefended(request(request_id="hang"), timeout=1.0))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await score_again_and_again(line, seconds=60) == pytest.approx(20, abs=1e-3)

    started = time.perf_counter()
    torchserve_server.run(scenario)
    assert time.perf_counter() - started < 60
    assert set(torchserve_server.worker_pids).isdisjoint(before)


def test_what_took_two_workers_down_is_given_to_no_third(torchserve_server: LiveServer) -> None:
    """The first death may be an operator's: UNAVAILABLE; after the second the request is refused."""
    message = request(77, request_id="die")

    async def scenario(line: Line) -> None:
        await wait_for_health(line, SERVING)
        error = await failure_of(line.stub.ScoreDefended(message, timeout=30))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        error = await refused(line, message)
        info = details_of(error)["ErrorInfo"]
        assert (error.code(), info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "POISON")
        assert "RetryInfo" not in details_of(error)
        assert await score_again_and_again(line, seconds=60) == pytest.approx(20, abs=1e-3)
        left = line.gateway.backend.board.notes()  # type: ignore[attr-defined]
        # The health may be that of a moment ago, when the worker was dead: then every call is told to come again.
        assert (await refused(line, message)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert line.gateway.backend.board.notes() == left  # type: ignore[attr-defined]

    torchserve_server.run(scenario)


async def refused(line: Line, message: Any) -> grpc.aio.AioRpcError:
    """The first error that no client sends again."""
    async with asyncio.timeout(60):
        while (error := await failure_of(line.stub.ScoreDefended(message))).code() is grpc.StatusCode.UNAVAILABLE:
            await asyncio.sleep(0.2)
    return error


@pytest.mark.parametrize("backend", ["local", "torchserve"])
def test_an_archive_that_was_changed_is_not_served(tmp_path: Path, backend: str) -> None:
    """One changed file: the start is refused with the file's name, before anything is started."""
    replace_entry(write_tiny_archive(tmp_path), "metric.onnx", b"changed")
    with (
        pytest.raises(IntegrityError, match=r"metric\.onnx was changed"),
        running_server(table_config(tmp_path, backend)),
    ):
        pass


def test_a_worker_that_cannot_load_stops_the_start(tmp_path: Path) -> None:
    """A handler that dies while loading: one line with the worker's own words, within seconds, nothing left running."""
    handler = b"raise RuntimeError('no such device')\n"
    replace_entry(write_tiny_archive(tmp_path), "defended_score.py", handler)
    with (
        pytest.raises(StartupError, match=r"die while loading: .*no such device"),
        running_server(table_config(tmp_path, "torchserve")),
    ):
        pass


def test_a_deadline_beyond_torchserves_patience_stops_the_start(tmp_path: Path) -> None:
    """TorchServe would kill the worker before such a deadline: one line says what to change."""
    write_tiny_archive(tmp_path)
    config = table_config(tmp_path, "torchserve")
    patient = replace(config, admission=replace(config.admission, max_deadline_seconds=115))
    with pytest.raises(StartupError, match="--max-deadline must be at most 110"), running_server(patient):
        pass
