"""What a gateway holds: each image that waits once, and nothing of those that are answered."""

from __future__ import annotations

import asyncio
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import grpc
import psutil
import pytest
from gateways import slow_request
from serve_command import command, environment
from tiny_archives import write_tiny_archive

import scoreguard_handlers
from scoreguard.v1.scoring_pb2 import DATA_TYPE_UINT8, Image, ScoreDefendedRequest, Tensor
from scoreguard.v1.scoring_pb2_grpc import ScoringServiceStub
from scoreguard_handlers.gateway.allocator import return_memory_early

_SETTLED: Final = 5
"""Looks in a row after which memory that did not change has settled."""
PROGRAM = """
import psutil, sys
from scoreguard.v1.scoring_pb2 import DATA_TYPE_UINT8, Image, ScoreDefendedRequest, Tensor
from scoreguard.v1.scoring_pb2_grpc import ScoringServiceStub
from scoreguard_handlers.gateway.allocator import return_memory_early
if sys.argv[1] == "early":
    assert return_memory_early()
megabyte, process = 1 << 20, psutil.Process()
bytearray(30 * megabyte)  # from here on, the C library would take buffers of this size from its heap
before = process.memory_info().rss
pairs = [(bytearray(b"x" * megabyte), bytearray(b"x" * 5000)) for _ in range(100)]
pairs = [small for _, small in pairs]
print((process.memory_info().rss - before) // megabyte)
"""


def kept_megabytes(mode: str) -> int:
    """What a process keeps after it freed 100 MB between small buffers that live on."""
    words = [sys.executable, "-c", PROGRAM, mode]
    folder = Path(scoreguard_handlers.__file__).parents[1]
    return int(subprocess.run(words, capture_output=True, text=True, check=True, cwd=folder).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the switch is glibc's")
def test_freed_buffers_go_back_although_small_ones_live_on() -> None:
    """Without it the process keeps a good part of it."""
    assert kept_megabytes("early") < 5 < 20 < kept_megabytes("as it comes")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="elsewhere freed memory may stay")
def test_an_image_that_waits_for_a_worker_is_held_once(tmp_path: Path) -> None:
    """Twenty arrays of 4 MB behind a busy worker take 110 to 135 MB of the gateway; held twice they took 198 to 212."""
    write_tiny_archive(tmp_path)
    arguments = command(tmp_path, "--workers", "1")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment()) as server:
        try:
            assert server.stdout is not None
            address, process = server.stdout.readline().split()[3], psutil.Process(server.pid)
            held = asyncio.run(megabytes_of_waiting(20, address, process))
        finally:
            server.kill()
    assert 75 < held < 165


async def megabytes_of_waiting(count: int, address: str, process: psutil.Process) -> float:
    """Memory that a server takes for so many arrays of 4 MB which wait for its only worker."""
    image = Image(tensor=Tensor(shape=[1000, 1333, 3], data_type=DATA_TYPE_UINT8, data=bytes(1000 * 1333 * 3)))
    large = ScoreDefendedRequest(metric="bright", image=image)
    async with grpc.aio.insecure_channel(address) as channel:
        stub = ScoringServiceStub(channel)
        busy = asyncio.ensure_future(_await(stub.ScoreDefended(slow_request(250, size=512), timeout=60)))
        await asyncio.sleep(1)
        before = process.memory_info().rss
        calls = [asyncio.ensure_future(_await(stub.ScoreDefended(large, timeout=60))) for _ in range(count)]
        held, settled = 0, 0
        while settled < _SETTLED:
            await asyncio.sleep(0.2)
            held, last = process.memory_info().rss - before, held
            settled = settled + 1 if abs(held - last) < 1e6 < held else 0
        for call in (busy, *calls):
            call.cancel()
        await asyncio.gather(busy, *calls, return_exceptions=True)
    return held / 1e6


async def _await(call: Any) -> Any:
    return await call


def test_another_system_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The switch is glibc's own."""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not return_memory_early()
