"""A model store in the caller's process beside the same store behind a gateway: the same calls, the same answers."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_servers import running_server
from tiny_archives import png, replace_entry, write_tiny_archive

from scoreguard.support import console
from scoreguard.v1 import scoring_pb2 as pb
from scoreguard_client import (
    CancelledError,
    ConfigurationError,
    ConnectionConfig,
    DeadlineExceededError,
    PreparedScore,
    RetryConfig,
    Score,
    ScoreguardError,
    ScoreRequest,
    ScoringClient,
    ServerError,
    Smoothing,
    UnsupportedError,
    async_local,
    local,
)
from scoreguard_client.cli import main
from scoreguard_handlers.config import ServeConfig

Call = Callable[[ScoringClient], Any]
MAX_PIXELS = 1 << 20
RNG = np.random.default_rng(3)
BYTES = RNG.integers(0, 256, (40, 56, 3), dtype=np.uint8)
FLOATS = RNG.random((40, 56, 3), dtype=np.float32)
SLOW = "+".join(["slow"] * 64)
LARGE = np.zeros((1024, 1024, 3), np.uint8)
THREADS = ("scoreguard-local", "scoreguard-chain", "asyncio_")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three metrics with a few defences each."""
    folder = tmp_path_factory.mktemp("store")
    for metric in ("bright", "dark", "root"):
        write_tiny_archive(folder, metric)
    return folder


@pytest.fixture(scope="module")
def wired(store: Path) -> Iterator[ScoringClient]:
    """A client of a gateway with the local backend."""
    config = ServeConfig(model_store=store, backend="local", port=0, workers=2, max_pixels=MAX_PIXELS)
    with running_server(config) as server, ScoringClient(server.gateway.address) as client:
        yield client


@pytest.fixture(scope="module")
def here(store: Path) -> Iterator[ScoringClient]:
    """A client of the same store in this process."""
    with local(store, workers=2, max_pixels=MAX_PIXELS, gradients=False) as client:
        yield client


def same(found: Any) -> Any:
    """An answer in a form that can be compared, without times; arrays by their bytes."""
    if isinstance(found, ServerError):
        return type(found), found.code, found.reason, found.field, found.metadata, found.retry_after, str(found)
    if isinstance(found, ScoreguardError):
        return type(found), str(found)
    if isinstance(found, np.ndarray):
        return found.dtype, found.shape, found.tobytes()
    if is_dataclass(found):
        return type(found), [(f.name, same(getattr(found, f.name))) for f in fields(found) if f.name != "milliseconds"]
    if isinstance(found, list | tuple | Iterator):
        return [same(part) for part in found]
    return found


def score(image: Any = FLOATS, **options: Any) -> Call:
    """A call of `score`, with a seed, so that it can be repeated."""
    return lambda client: client.score(image, **{"metric": "bright", "seed": 5, **options})


def raw(image: pb.Image, **changes: Any) -> Call:
    """A request as another client might send it, unchecked."""
    request = pb.ScoreDefendedRequest(image=image, **{"metric": "bright", **changes})
    return lambda client: client.score_prepared(PreparedScore(request.SerializeToString()))


MIXED = [
    ScoreRequest(image=FLOATS, metric="bright", seed=1),
    ScoreRequest(image=png(80), metric="dark", defences="gain:factor=0.5", seed=2, return_undefended=True),
    ScoreRequest(image=FLOATS, metric="brigth", seed=3),
    ScoreRequest(image=BYTES, metric="bright", defences="broken", seed=4),
    ScoreRequest(image=np.zeros((2, 2), np.uint8), metric="bright", seed=5),
    ScoreRequest(image=BYTES, metric="bright", defences="piece:size=9", seed=6, return_purified=True),
]
CALLS: dict[str, Call] = {
    "floats": score(),
    "integers": score(BYTES),
    "a file": score(png(77, 48)),
    "a chain": score(defences="gain:factor=0.7+filter:kernel=5"),
    "undefended as well": score(defences="gain:factor=0.7", return_undefended=True),
    "purified": score(BYTES, defences="gain:factor=0.7", return_purified=True, request_id="frame 3"),
    "purified as PNG": score(defences="gain:factor=0.7", return_purified=True, purified_format="png"),
    "smoothed": score(smoothing=Smoothing(samples=100, confidence=0.9)),
    "purify": lambda client: client.purify(FLOATS, "piece:size=20+gain", seed=3, request_id="p"),
    "purify as PNG": lambda client: client.purify(FLOATS, "gain", metric="dark", seed=3, purified_format="png"),
    "batch": lambda client: client.score_batch(MIXED),
    "channels first": lambda client: client.score_batch(
        np.stack([FLOATS] * 3).transpose(0, 3, 1, 2), metric="bright", seed=9
    ),
    "stream": lambda client: client.score_stream(MIXED * 10),
    "catalogue": lambda client: client.list_metrics(),
    "readiness": lambda client: client.wait_ready(),
}
REFUSED: dict[str, Call] = {
    "unknown metric": score(metric="brigth"),
    "unknown defence": score(defences="gian"),
    "unknown defence to purify with": lambda client: client.purify(FLOATS, "blurr"),
    "unknown parameter": score(defences="gain:factr=1"),
    "parameter out of range": score(defences="gain:factor=3"),
    "parameter does not fit the image": score(defences="piece:size=48"),
    "too large": score(np.zeros((1025, 1024, 3), np.uint8)),
    "too large a file": score(png(5, 1025)),
    "too small": score(np.zeros((4, 4, 3), np.uint8)),
    "not an image": score(b"\x89PNG\r\n\x1a\n" + bytes(50)),
    "no image": raw(pb.Image()),
    "NaN": raw(
        pb.Image(
            tensor=pb.Tensor(
                data=np.full((8, 8, 3), np.nan, np.float32).tobytes(), shape=(8, 8, 3), data_type=pb.DATA_TYPE_FLOAT32
            )
        )
    ),
    "short tensor": raw(pb.Image(tensor=pb.Tensor(data=b"123", shape=(8, 8, 3), data_type=pb.DATA_TYPE_UINT8))),
    "long request_id": score(request_id="x" * 300),
    "no certificate": raw(pb.Image(encoded=png(3)), smoothing=pb.Smoothing(samples=1)),
    "a stage that fails": score(defences="broken"),
    "a score that is no number": score(np.zeros((16, 16, 3), np.uint8), metric="root"),
    "a purified image that is no number": score(np.zeros((16, 16, 3), np.uint8), defences="log"),
    "a chain that no archive holds": lambda client: client.purify(FLOATS, "gain", metric="brigth"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_answered_alike_to_the_last_bit(name: str, wired: ScoringClient, here: ScoringClient) -> None:
    """Scores, arrays, provenance, certificates, and the errors of single items; only times differ."""
    assert same(CALLS[name](here)) == same(CALLS[name](wired))


@pytest.mark.parametrize("name", REFUSED)
def test_a_call_is_refused_alike(name: str, wired: ScoringClient, here: ScoringClient) -> None:
    """Class, code, reason, field, facts and message."""
    refusals = []
    for client in (here, wired):
        with pytest.raises(ServerError) as caught:
            REFUSED[name](client)
        refusals.append(same(caught.value))
    assert refusals[0] == refusals[1]


@pytest.mark.parametrize("name", CALLS)
def test_the_asyncio_client_answers_alike(name: str, store: Path, here: ScoringClient) -> None:
    """Every call of the table, awaited."""

    async def asked() -> Any:
        async with async_local(store, workers=2, max_pixels=MAX_PIXELS, gradients=False) as client:
            found: Any = CALLS[name](client)  # type: ignore[arg-type]
            return [outcome async for outcome in found] if inspect.isasyncgen(found) else await found

    assert same(asyncio.run(asked())) == same(CALLS[name](here))


def test_work_that_takes_too_long_is_dropped(here: ScoringClient, wired: ScoringClient) -> None:
    """The call, or each of its items where their end is seen first, gets the deadline's error, soon after it."""
    calls: list[Call] = [
        score(LARGE, defences=SLOW, timeout=0.3),
        lambda client: client.score_batch([LARGE] * 2, metric="bright", defences=SLOW, timeout=0.3),
        lambda client: list(client.score_stream([LARGE] * 2, metric="bright", defences=SLOW, timeout=0.3)),
    ]
    for client in (here, wired):
        for call in calls:
            started = time.monotonic()
            try:
                errors = call(client)
            except ServerError as error:
                errors = [error]
            assert [(type(error), error.code) for error in errors] == [
                (DeadlineExceededError, "DEADLINE_EXCEEDED")
            ] * len(errors)
            assert time.monotonic() - started < 10
    # The worker let go of them.
    assert here.score(FLOATS, metric="bright", timeout=30).score == wired.score(FLOATS, metric="bright").score


def test_gradients_that_are_turned_off_are_refused_alike(here: ScoringClient, wired: ScoringClient) -> None:
    """The call does not exist; the message names who was asked."""
    refusals = []
    for client in (here, wired):
        with pytest.raises(UnsupportedError) as caught:
            client.gradient(FLOATS, metric="bright")
        refusals.append((caught.value.code, str(caught.value).removeprefix(client.target)))
    assert refusals[0] == refusals[1]


def test_a_full_queue_is_waited_out_like_a_servers(store: Path) -> None:
    """Many threads share one client; every one of them gets its answer."""
    with local(store, workers=1) as client, ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: client.score(FLOATS, metric="bright").score, range(64)))
    assert len(set(found)) == 1


def test_a_stream_is_read_in_a_thread_of_its_own(here: ScoringClient) -> None:
    """An iterator may wait for the answer to its last item, and one that raises ends the stream with its own error."""
    answered = threading.Semaphore(1)

    def careful() -> Iterator[Any]:
        for _ in range(4):
            assert answered.acquire(timeout=20)
            yield FLOATS
        raise KeyError("the last one")

    found = []
    with pytest.raises(KeyError, match="the last one"):
        for outcome in here.score_stream(careful(), metric="bright"):
            found.append(outcome)
            answered.release()
    assert [type(outcome) for outcome in found] == [Score] * 4


def test_a_stream_that_is_left_stops_its_work(here: ScoringClient) -> None:
    """Nobody waits for the items that were sent ahead."""
    stream = here.score_stream([FLOATS, *[LARGE] * 20], metric="bright", defences=SLOW, timeout=120)
    assert isinstance(next(stream), Score)
    started = time.monotonic()
    stream.close()
    assert isinstance(here.score(FLOATS, metric="bright", timeout=60), Score)
    assert time.monotonic() - started < 20


def test_a_task_that_is_cancelled_stops_its_work(store: Path) -> None:
    """The caller's own cancellation stays one, and the worker is free again."""

    async def scenario() -> Score:
        async with async_local(store, workers=1) as client:
            await client.list_metrics()
            slow = asyncio.create_task(client.score(LARGE, metric="bright", defences=SLOW, timeout=120))
            await asyncio.sleep(0.3)
            slow.cancel()
            with pytest.raises(asyncio.CancelledError):
                await slow
            return await client.score(FLOATS, metric="bright", timeout=20)

    assert isinstance(asyncio.run(scenario()), Score)


def ours() -> set[threading.Thread]:
    """Threads that a service in this process has."""
    return {thread for thread in threading.enumerate() if thread.name.startswith(THREADS)}


def eventually(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether it becomes true."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_closing_frees_everything_and_ends_what_is_under_way(store: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """No thread and no file is left; a call under way ends with CancelledError, and none begins."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = ours()
    client = local(store, workers=2)
    assert ours() == before  # nothing is opened before the first call
    client.list_metrics()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(client.score, LARGE, metric="bright", defences=SLOW, timeout=120)
        time.sleep(0.5)
        client.close()
        with pytest.raises(CancelledError, match="closed"):
            slow.result(timeout=20)
    assert ours() == before
    assert not list(tmp_path.iterdir())
    with pytest.raises(CancelledError, match="make a new one"):
        client.list_metrics()
    client.close()


def test_a_client_that_is_dropped_frees_everything_as_well(store: Path) -> None:
    """As a connection would close."""
    before = ours()
    client = local(store, workers=1)
    client.list_metrics()
    assert ours() > before
    del client
    gc.collect()
    assert eventually(lambda: ours() == before)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda client: pickle.loads(pickle.dumps(client))])
def test_a_client_can_be_copied_and_pickled(copied: Callable[[ScoringClient], ScoringClient], store: Path) -> None:
    """It is its settings; the copy runs a service of its own."""
    config = ConnectionConfig(timeout_seconds=9, retry=RetryConfig(attempts=2))
    with local(store, config, workers=1) as client, copied(client) as other:
        expected = client.score(FLOATS, metric="bright").score
        client.close()
        assert (other.target, other.config) == (f"local:{store}", config)
        assert other.score(FLOATS, metric="bright").score == expected


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: None, "no .mar archive here; run scoreguard-export build first"),
        (lambda folder: replace_entry(write_tiny_archive(folder), "metric.onnx", b"other"), "was changed after"),
        (lambda folder: write_tiny_archive(folder).rename(folder / "other.mar"), "name the file bright.mar"),
    ],
    ids=["empty", "tampered", "misnamed"],
)
def test_a_store_that_cannot_be_served_gives_one_line(harm: Callable[[Path], Any], said: str, tmp_path: Path) -> None:
    """At the first call, as often as it is tried, with the name of the store; nothing is left running."""
    harm(tmp_path)
    before = ours()
    with local(tmp_path) as client:
        for call in (client.list_metrics, client.wait_ready):
            with pytest.raises(ConfigurationError, match=said) as caught:
                call()
            assert str(caught.value).startswith(f"local:{tmp_path}: ")
            assert len(str(caught.value).splitlines()) == 1
    assert eventually(lambda: ours() == before)


def test_a_store_that_changes_under_a_service_gives_errors_and_no_other_scores(tmp_path: Path) -> None:
    """A graph that is read after the change has another digest than the manifest of the start."""
    path = write_tiny_archive(tmp_path)
    with local(tmp_path) as client:
        expected = client.score(FLOATS, metric="bright").score
        replace_entry(path, "defences/gain.onnx", b"other")
        assert client.score(FLOATS, metric="bright").score == expected
        with pytest.raises(ServerError):
            client.score(FLOATS, metric="bright", defences="gain:factor=0.5")


@pytest.mark.parametrize("setting", ["workers", "threads", "max_pixels", "memory_mib"])
def test_a_setting_out_of_range_is_refused_at_once(setting: str, store: Path) -> None:
    """One line that names it."""
    for open_it in (local, async_local):
        with pytest.raises(ConfigurationError, match=f"{setting} must be at least"):
            open_it(store, **{setting: -1})  # type: ignore[arg-type]


def test_an_image_above_the_memory_is_refused(store: Path) -> None:
    """The budget is the caller's to set."""
    with local(store, memory_mib=1) as client, pytest.raises(ServerError, match="the limit is 1 MiB"):
        client.score(LARGE, metric="bright")


def test_the_command_line_takes_a_store_for_a_server(
    store: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """`--target local:STORE` scores files, and loads it with callers."""
    photo = tmp_path / "grey.png"
    photo.write_bytes(png(51))
    assert main(["score", "--target", f"local:{store}", str(photo), str(photo), "--metric", "bright"]) == 0
    assert "20.0000" in capfd.readouterr().out
    load = ["--metric", "bright", "--callers", "2", "--seconds", "0.3", "--synthetic", "64x48"]
    assert main(["bench", "--target", f"local:{store}", *load]) == 0
    assert capfd.readouterr().out.splitlines()[-1].split()[-1] == "0"  # errors
    assert main(["score", "--target", "local:nowhere", str(photo)]) == console.BAD_INPUT
    assert capfd.readouterr().err.endswith(
        "local:nowhere: nowhere: no .mar archive here; run scoreguard-export build first\n"
    )
