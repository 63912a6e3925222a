"""Freed buffers go back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

import scoreguard_handlers
from scoreguard_handlers.allocator import return_memory_early

PROGRAM = """
import psutil, sys
from scoreguard_handlers.allocator import return_memory_early
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


def test_another_system_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The switch is glibc's own."""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not return_memory_early()
