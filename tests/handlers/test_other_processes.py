"""Clients and what is built on them, in forked and spawned processes: over gRPC and without a server."""

from __future__ import annotations

import multiprocessing
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serve_command import command, environment
from tiny_archives import write_tiny_archive

from scoreguard_client import (
    ConnectionConfig,
    DeadlineExceededError,
    NotFoundError,
    ResourceExhaustedError,
    ScoringClient,
    local,
)
from scoreguard_client.oracles.live import LiveScoreOracle

FLOATS = np.random.default_rng(3).random((40, 56, 3), dtype=np.float32)
LARGE = np.zeros((1024, 1024, 3), np.uint8)
SLOW = "+".join(["slow"] * 64)
WAYS = [("local", "spawn"), ("local", "fork"), ("grpc", "spawn")]
"""gRPC and fork have scripts of their own below: here, other tests may have imported gRPC first."""
CONFIG = ConnectionConfig(timeout_seconds=60)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One metric."""
    folder = tmp_path_factory.mktemp("store")
    write_tiny_archive(folder)
    return folder


@pytest.fixture(scope="module")
def targets(store: Path) -> Iterator[dict[str, str]]:
    """A server, in a process that none of these forks, and its store."""
    with subprocess.Popen(command(store), env=environment(), stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line.startswith("ready:"), line
        try:
            address = re.search(r"localhost:\d+", line)
            assert address is not None
            yield {"grpc": address[0], "local": f"local:{store}"}
        finally:
            server.terminate()
            server.wait(60)


@pytest.mark.parametrize(("transport", "method"), WAYS)
@pytest.mark.parametrize("is_used", [True, False], ids=["used", "unused"])
def test_what_is_built_on_a_client_works_in_another_process(
    transport: str, method: str, is_used: bool, targets: dict[str, str]
) -> None:
    """Answers, errors and deadlines there are those of here, whether or not the parent's connection was open."""
    context = multiprocessing.get_context(method)
    with ScoringClient(targets[transport]) as other, ScoringClient(targets[transport], CONFIG) as client:
        if is_used:
            client.score(FLOATS, metric="bright")
        oracle = LiveScoreOracle(client, other.list_metrics().metric("bright"))
        images = FLOATS.transpose(2, 0, 1)[None]
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            assert pool.submit(oracle.score, images).result(timeout=120) == oracle.score(images)
            with pytest.raises(NotFoundError, match="brigth"):
                pool.submit(client.score, FLOATS, metric="brigth").result(timeout=120)
            with pytest.raises(DeadlineExceededError):
                pool.submit(client.score, LARGE, metric="bright", defences=SLOW, timeout=0.3).result(timeout=120)


def test_a_client_goes_on_in_a_forked_child_and_in_its_parent(targets: dict[str, str]) -> None:
    """The object itself, not a copy: each of the two has a service of its own, also while the other works."""
    context = multiprocessing.get_context("fork")
    with ScoringClient(targets["local"], CONFIG) as client:
        expected = client.score(FLOATS, metric="bright").score
        for _ in range(2):
            mine, theirs = context.Pipe()
            child = context.Process(target=_answer, args=(client, theirs))
            child.start()
            assert client.score(FLOATS, metric="bright").score == expected
            assert mine.poll(60)
            assert mine.recv() == expected
            child.join(60)
            assert child.exitcode == 0
        assert client.score(FLOATS, metric="bright").score == expected


def _answer(client: ScoringClient, pipe: Any) -> None:
    pipe.send(client.score(FLOATS, metric="bright").score)
    client.close()


def test_settings_follow_into_another_process(store: Path) -> None:
    """What `local` was told is told again there."""
    context = multiprocessing.get_context("spawn")
    with local(store, max_pixels=2000) as client, ProcessPoolExecutor(1, mp_context=context) as pool:
        future = pool.submit(client.score, FLOATS, metric="bright")
        with pytest.raises(ResourceExhaustedError, match="limit is 2000"):
            future.result(timeout=120)


FORKED = """
    import {first}
    import asyncio, multiprocessing, os, sys
    import numpy as np
    from scoreguard_client import AsyncScoringClient, ConfigurationError, ConnectionConfig, ScoringClient

    image, config = np.full((16, 16, 3), 51, np.uint8), ConnectionConfig(timeout_seconds=20)
    client, other = ScoringClient(sys.argv[1], config), AsyncScoringClient(sys.argv[1], config)

    def scored():
        try:
            return round(client.score(image, metric="bright").score, 3)
        except ConfigurationError as error:
            return str(error)

    async def awaited():
        return round((await other.score(image, metric="bright")).score, 3)

    if {is_used}:
        assert scored() == 20
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe()
    child = context.Process(target=lambda: theirs.send((scored(), {awaited})))
    child.start()
    print(*(mine.recv() if mine.poll(60) else ["nothing"]))
    child.join(60)
    print(child.exitcode, scored())
"""


@pytest.mark.parametrize("is_used", [True, False], ids=["used", "unused"])
@pytest.mark.parametrize(("first", "awaited"), [("scoreguard_client", "asyncio.run(awaited())"), ("grpc", "20")])
def test_a_forked_child_connects_anew_or_says_why_it_cannot(
    first: str, awaited: str, is_used: bool, targets: dict[str, str]
) -> None:
    """What would hang in a child, since gRPC was not told before its import, is one line there; the parent goes on."""
    surroundings = {name: value for name, value in environment().items() if name != "GRPC_ENABLE_FORK_SUPPORT"}
    code = textwrap.dedent(FORKED).format(first=first, awaited=awaited, is_used=is_used)
    done = subprocess.run(
        [sys.executable, "-c", code, targets["grpc"]],
        env=surroundings, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    in_child, in_parent = done.stdout.splitlines()
    assert in_parent == "0 20.0"
    hangs = first == "grpc" and is_used
    assert in_child.startswith("this process was forked from one that used gRPC" if hangs else "20.0 20")
