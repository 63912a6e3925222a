"""When nobody waits for an answer any more: stop the work instead of finishing it.

Nobody waits once the deadline has passed, or once the caller has left. A running graph cannot be stopped from outside,
but ONNX Runtime looks at a flag between two nodes. One thread for the whole process raises the flags whose time has
come; it looks at who has left only while something runs.
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
"""Time between two looks at whether the callers are still there."""


@dataclass(frozen=True)
class Deadline:
    """A moment, or the leaving of the caller, whichever comes first."""

    unix_seconds: float = 0.0
    """The moment; 0 = never."""
    gone: Callable[[], bool] | None = field(default=None, compare=False)
    """Whether the caller has left; None = nobody would say so."""

    @property
    def passed(self) -> bool:
        """Whether nobody waits any more."""
        return 0 < self.unix_seconds <= time.time() or (self.gone is not None and self.gone())

    def check(self, stage: str) -> None:
        """Stop here if nobody waits any more.

        Raises:
            TooLateError: the deadline passed; the metadata names the stage.
            CallerGoneError: the caller left; the metadata names the stage.
        """
        if self.passed:
            raise self.error(f"before {stage}; the work was dropped", stage=stage)

    def error(self, what: str, *, stage: str = "") -> ServingError:
        """Why the work stopped: `what` ends the sentence."""
        metadata = {"stage": stage} if stage else {}
        if 0 < self.unix_seconds <= time.time():
            return TooLateError(f"the deadline passed {what}", metadata=metadata)
        return CallerGoneError(f"the caller left {what}", metadata=metadata)


class DeadlineWatch:
    """Calls back when deadlines pass, all from one daemon thread that starts with the first of them."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start anew: in a forked child, where the thread is missing, and its lock may be held for good."""
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
    """Until the next look at a deadline."""
    left = max(0.0, deadline.unix_seconds - time.time()) if deadline.unix_seconds else _LOOK_SECONDS
    return left if deadline.gone is None else min(left, _LOOK_SECONDS)


WATCH = DeadlineWatch()
"""The watch of this process."""
if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=WATCH.forget)
