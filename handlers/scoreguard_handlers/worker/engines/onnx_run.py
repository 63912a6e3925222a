"""One run of an ONNX graph: stopped at its deadline, and with an error of ours if memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import onnxruntime

from scoreguard_handlers.worker.deadline import WATCH, Deadline

FATAL: Final = 4
"""The level of ONNX Runtime's own log: errors reach the caller as exceptions."""
_OUT_OF_MEMORY: Final = ("bad_alloc", "Failed to allocate", "out of memory", "Available memory of")


@contextmanager
def running(
    options: onnxruntime.RunOptions, deadline: Deadline, memory_error: Callable[[], Exception]
) -> Iterator[None]:
    """Run a graph with these options in the block; it stops between two nodes when the deadline passes.

    Raises:
        TooLateError: the deadline passed.
        CallerGoneError: the caller left.
        Exception: `memory_error()`, if memory ran out.
    """

    def stop() -> None:
        options.terminate = True

    try:
        with WATCH.watch(deadline, stop):
            yield
    except Exception as error:
        if deadline.passed:
            raise deadline.error("while a graph was running; the work was stopped") from error
        if any(sign in str(error) for sign in _OUT_OF_MEMORY):
            raise memory_error() from error
        raise
