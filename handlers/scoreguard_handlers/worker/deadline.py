"""Deadlines: stop work whose caller has gone.

Work is no longer needed once its deadline has passed or its caller has left. A running graph cannot be stopped from
outside, but ONNX Runtime checks a flag between two nodes. One thread for the whole process sets the flags that are due;
it checks which callers have left only while something runs.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from scoreguard_handlers.errors import CallerGoneError, ServingError, TooLateError

Stop = Callable[[], None]
_LOOK_SECONDS: Final = 0.05
"""Time between two checks of whether the callers are still there."""


@dataclass(frozen=True)
class Deadline:
    """A point in time, or the caller's departure, whichever comes first."""

    unix_seconds: float = 0.0
    """The point in time; 0 = never."""
    gone: Callable[[], bool] | None = field(default=None, compare=False)
    """Whether the caller has left; None = that cannot be known."""

    @property
    def passed(self) -> bool:
        """Whether the work is no longer needed."""
        return 0 < self.unix_seconds <= time.time() or (self.gone is not None and self.gone())

    def check(self, stage: str) -> None:
        """Raise if the work is no longer needed.

        Raises:
            TooLateError: the deadline passed; the metadata names the stage.
            CallerGoneError: the caller left; the metadata names the stage.
        """
        if self.passed:
            raise self.error(f"before {stage}; the work was dropped", stage=stage)

    def error(self, what: str, *, stage: str = "") -> ServingError:
        """Return why the work stopped; `what` ends the sentence."""
        metadata = {"stage": stage} if stage else {}
        if 0 < self.unix_seconds <= time.time():
            return TooLateError(f"the deadline passed {what}", metadata=metadata)
        return CallerGoneError(f"the caller left {what}", metadata=metadata)


class DeadlineWatch:
    """Calls back when deadlines pass, from a single daemon thread that starts with the first deadline."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Reset the state: in a forked child the thread is missing, and its lock may be held forever."""
        self._wake = threading.Condition()
        self._watched: dict[int, tuple[Deadline, Stop]] = {}
        self._serial = 0
        self._thread: threading.Thread | None = None

    @contextmanager
    def watch(self, deadline: Deadline, stop: Stop) -> Iterator[None]:
        """Call `stop` if the deadline passes inside the block."""
        if not deadline.unix_seconds and deadline.gone is None:
            yield
            return
        serial = self._add(deadline, stop)
        try:
            yield
        finally:
            with self._wake:
                self._watched.pop(serial, None)

    def _add(self, deadline: Deadline, stop: Stop) -> int:
        with self._wake:
            pause = self._pause()
            self._serial += 1
            self._watched[self._serial] = (deadline, stop)
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="deadline-watch", daemon=True)
                self._thread.start()
            elif pause is None or _seconds_to(deadline) < pause:
                self._wake.notify()
            return self._serial

    def _loop(self) -> None:
        with self._wake:
            while True:
                for serial in [s for s, (deadline, _) in self._watched.items() if deadline.passed]:
                    self._watched.pop(serial)[1]()
                self._wake.wait(self._pause())

    def _pause(self) -> float | None:
        return min((_seconds_to(deadline) for deadline, _ in self._watched.values()), default=None)


def _seconds_to(deadline: Deadline) -> float:
    """Return the seconds until the next check of a deadline."""
    left = max(0.0, deadline.unix_seconds - time.time()) if deadline.unix_seconds else _LOOK_SECONDS
    return left if deadline.gone is None else min(left, _LOOK_SECONDS)


WATCH = DeadlineWatch()
"""The watch of this process."""
if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=WATCH.forget)
