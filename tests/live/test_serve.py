"""`scoreguard-serve` with the real TorchServe: it starts, agrees with the local backend, and never leaves a process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from gateways import Line, request, slow_request
from grpc_health.v1 import health_pb2, health_pb2_grpc
from live_servers import LiveServer, running_server, table_config
from tiny_archives import HANDLER_FILE, replace_entry, write_tiny_archive

import scoreguard_handlers
from scoreguard.v1.scoring_pb2 import DATA_TYPE_FLOAT32, Image, ScoreDefendedRequest, Tensor
from scoreguard.v1.scoring_pb2_grpc import ScoringServiceStub

pytestmark = pytest.mark.live
PROTO = Path(sys.modules["scoreguard.v1"].__file__ or "").parents[2]
ROOTS = [str(Path(scoreguard_handlers.__file__).parents[1]), str(PROTO)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with one metric."""
    folder = tmp_path_factory.mktemp("store")
    write_tiny_archive(folder)
    return folder


@contextmanager
def served(store: Path, temporary: Path, *extra: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command as a process of its own; yields it with the address that it prints."""
    options = ["--model-store", str(store), "--workers", "1", "--port", "0", "--grace", "5", *extra]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(ROOTS), "TMPDIR": str(temporary), **variables}
    with subprocess.Popen(
        [sys.executable, "-m", "scoreguard_handlers.cli", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("ready: ScoreDefended on "), line or process.communicate(timeout=30)
            yield process, line.split()[3]
        finally:
            process.kill()


def family(pid: int) -> dict[str, psutil.Process]:
    """The processes below a gateway: `java` and `worker`."""
    children = psutil.Process(pid).children(recursive=True)
    return {"java" if "java" in child.name() else "worker": child for child in children}


def all_end(processes: dict[str, psutil.Process], seconds: float = 10) -> bool:
    """Whether all of them are gone in time."""
    _, alive = psutil.wait_procs(processes.values(), timeout=seconds)
    return not alive


def test_the_command_serves_and_stops_without_a_trace(store: Path, tmp_path: Path) -> None:
    """It prints one line, scores, and on SIGTERM ends with 0: no process, no temporary file, no other output."""
    with served(store, tmp_path) as (process, address):
        below = family(process.pid)
        assert set(below) == {"java", "worker"}
        with grpc.insecure_channel(address) as channel:
            assert ScoringServiceStub(channel).ScoreDefended(request()).score == pytest.approx(20, abs=1e-3)
        assert list(tmp_path.iterdir())
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (0, "", "")
    assert all_end(below, 0.1)
    assert list(tmp_path.iterdir()) == []


def test_a_worker_does_without_torch(store: Path, tmp_path: Path) -> None:
    """TorchServe's worker imports torch for nothing: its libraries are not in the worker's memory."""
    with served(store, tmp_path) as (process, address):
        with grpc.insecure_channel(address) as channel:
            ScoringServiceStub(channel).ScoreDefended(request())
        maps = {Path(entry.path).name for entry in family(process.pid)["worker"].memory_maps()}
        process.terminate()
        process.communicate(timeout=30)
    assert any("onnxruntime" in name for name in maps)
    assert not any(name.startswith("libtorch") for name in maps)


def wait_for_health(address: str, wanted: int, seconds: float = 60) -> None:
    """Poll readiness as a probe does."""
    with grpc.insecure_channel(address) as channel:
        stub, end = health_pb2_grpc.HealthStub(channel), time.monotonic() + seconds
        asked = health_pb2.HealthCheckRequest(service="scoreguard.v1.ScoringService")
        while stub.Check(asked, timeout=10).status != wanted:
            assert time.monotonic() < end, f"not {wanted} within {seconds} s"
            time.sleep(0.05)


def test_torchserve_is_started_again_with_the_archives_of_the_start(tmp_path: Path) -> None:
    """Java dies: NOT_SERVING, then a new one serves what was loaded, though the store holds another metric by now."""
    write_tiny_archive(tmp_path / "store")
    (tmp_path / "tmp").mkdir()
    with served(tmp_path / "store", tmp_path / "tmp") as (process, address):
        below = family(process.pid)
        write_tiny_archive(tmp_path / "other", "dark").replace(tmp_path / "store" / "bright.mar")
        below["java"].kill()
        wait_for_health(address, health_pb2.HealthCheckResponse.NOT_SERVING)
        wait_for_health(address, health_pb2.HealthCheckResponse.SERVING)
        assert all_end(below)
        with grpc.insecure_channel(address) as channel:
            assert ScoringServiceStub(channel).ScoreDefended(request()).score == pytest.approx(20, abs=1e-3)
        assert set(family(process.pid)) == {"java", "worker"}
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "TorchServe ended with status -9; starting it again in 1 s" in errors
    assert "bright.mar changed; what was loaded at the start is served until a restart" in errors
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_torchserve_that_cannot_be_started_again_ends_the_service(store: Path, tmp_path: Path) -> None:
    """After three vain restarts the service stops with 2 and one line that says why: what watches it takes over."""
    with served(store, tmp_path) as (process, _):
        below = family(process.pid)
        for archive in tmp_path.glob("scoreguard-*/bright.mar"):
            archive.write_bytes(b"no archive any more")
        below["java"].kill()
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    last = errors.splitlines()[-1]
    assert last.startswith("error: ") and "given up after 3 restarts" in last
    assert all_end({"worker": below["worker"]})
    assert list(tmp_path.iterdir()) == []


def test_kill_9_of_the_gateway_leaves_folders_that_the_next_start_sweeps(store: Path, tmp_path: Path) -> None:
    """Nobody has to clean the temporary folder by hand; Java and its workers are gone within seconds."""
    with served(store, tmp_path) as (process, _):
        below = family(process.pid)
        process.kill()
        process.wait()
        assert all_end(below)
    left = set(tmp_path.iterdir())
    assert left
    with served(store, tmp_path) as (process, _):
        assert left.isdisjoint(tmp_path.iterdir())
        process.terminate()
        process.communicate(timeout=30)
    assert list(tmp_path.iterdir()) == []


def test_large_messages_pass_java_by(store: Path, tmp_path: Path) -> None:
    """55 MiB there and back, twice: Java holds none of it, and no file of a message stays."""
    side = 2200
    pixels = Tensor(
        data=np.full((side, side, 3), 0.2, "<f4").tobytes(), shape=[side, side, 3], data_type=DATA_TYPE_FLOAT32
    )
    large = ScoreDefendedRequest(image=Image(tensor=pixels), metric="bright", return_purified_image=True)
    unlimited = [("grpc.max_receive_message_length", -1)]
    with served(store, tmp_path) as (process, address):
        java = family(process.pid)["java"]
        before = java.memory_info().rss
        with grpc.insecure_channel(address, options=unlimited) as channel:
            for _ in range(2):
                answer = ScoringServiceStub(channel).ScoreDefended(large, timeout=60)
                assert answer.score == pytest.approx(20, abs=0.5)
                assert len(answer.purified_image.tensor.data) == side * side * 12
        assert java.memory_info().rss - before < 40 << 20
        assert not list(tmp_path.glob("scoreguard-*/spool/*"))
        process.terminate()
        process.communicate(timeout=30)


def test_a_talkative_worker_does_not_fill_the_disk(tmp_path: Path) -> None:
    """Of 40 MB that a worker prints, the logs keep the last few: 4 MiB in each of two files."""
    loud = b"for _ in range(400):\n    print('x' * 99_999)\n"
    archive = write_tiny_archive(tmp_path / "store")
    with zipfile.ZipFile(archive) as zipped:
        handler = zipped.read(HANDLER_FILE)
    replace_entry(archive, HANDLER_FILE, handler + loud)
    logs = tmp_path / "logs"
    config = table_config(tmp_path / "store", "torchserve")
    with running_server(replace(config, torchserve=replace(config.torchserve, log_dir=logs))):
        assert sum(path.stat().st_size for path in logs.iterdir()) < 4 * 4096 * 1024 + 200_000
        assert {"worker.log", "worker.log.old"} <= {path.name for path in logs.iterdir()}


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder near the root: the path of a socket has 107 bytes at most, and pytest takes most of them."""
    with tempfile.TemporaryDirectory(prefix="sg") as folder:
        yield Path(folder)


def test_odd_paths_are_only_names(short_path: Path) -> None:
    """Blanks, umlauts, percent, hash and dollar in the store, the temporary folder and the log folder; C locale."""
    odd = short_path / "ä b#c%20d${e}日"
    write_tiny_archive(odd / "store")
    (odd / "tmp").mkdir()
    extra = ("--torchserve-log-dir", str(odd / "logs"))
    with served(odd / "store", odd / "tmp", *extra, LC_ALL="C", LANG="C") as (process, address):
        with grpc.insecure_channel(address) as channel:
            assert ScoringServiceStub(channel).ScoreDefended(request()).score == pytest.approx(20, abs=1e-3)
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert (odd / "logs" / "worker.log").stat().st_size > 0
    assert sorted(path.name for path in odd.iterdir()) == ["logs", "store", "tmp"]
    assert [path.name for path in short_path.iterdir()] == [odd.name]


@pytest.mark.parametrize("chain", ["none", "gain:factor=0.7", "gain:factor=1.3+slow"])
def test_both_backends_give_the_same_score_to_the_last_bit(
    local_server: LiveServer, torchserve_server: LiveServer, chain: str
) -> None:
    """The same worker code runs behind both, so callers may change the backend without changing a number."""

    async def scenario(line: Line) -> Any:
        return await line.stub.ScoreDefended(request(77, chain=chain, size=65, seed=3))

    local, remote = local_server.run(scenario), torchserve_server.run(scenario)
    assert local.score == remote.score
    assert local.provenance == remote.provenance


def test_many_callers_at_once_all_get_their_own_answer(server: LiveServer) -> None:
    """Concurrent callers with different images: nobody gets another one's score."""

    async def scenario(line: Line) -> list[float]:
        async def caller(value: int) -> float:
            while True:
                try:
                    response = await line.stub.ScoreDefended(request(value))
                    return float(response.score)
                except grpc.aio.AioRpcError as error:  # the table's queue is tiny
                    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                    await asyncio.sleep(0.005)

        return await asyncio.gather(*(caller(value) for value in range(0, 256, 8)))

    assert server.run(scenario) == pytest.approx([value / 2.55 for value in range(0, 256, 8)], abs=1e-3)


def test_a_slow_caller_does_not_hold_up_the_stop(store: Path, tmp_path: Path) -> None:
    """When the grace is over, work that still runs is cut off: the command ends, and so does TorchServe."""
    with served(store, tmp_path) as (process, address):
        below = family(process.pid)
        with grpc.insecure_channel(address) as channel:
            call = ScoringServiceStub(channel).ScoreDefended.future(slow_request(200), timeout=60)
            assert not call.done()
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
            assert call.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert process.returncode == 0
    assert all_end(below, 0.5)
