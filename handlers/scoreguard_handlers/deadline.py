"""When nobody waits for an answer any more: stop the work instead of finishing it.

A running graph cannot be cancelled from outside, but ONNX Runtime looks at a flag between two nodes. One thread for
the whole process raises the flags whose time has come.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from scoreguard_handlers.errors import TooLateError

Stop = Callable[[], None]


@dataclass(frozen=True)
class Deadline:
    """A moment; `unix_seconds` = 0 means never."""

    unix_seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the moment is over."""
        return 0 < self.unix_seconds <= time.time()

    def check(self, stage: str) -> None:
        """Stop here if nobody waits any more.

        Raises:
            TooLateError: the deadline passed; the metadata names the stage.
        """
        if self.passed:
            raise TooLateError(f"the deadline passed before {stage}; the work was dropped", metadata={"stage": stage})


class DeadlineWatch:
    """Calls back when deadlines pass, all from one daemon thread that starts with the first of them."""

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._watched: dict[int, tuple[float, Stop]] = {}
        self._serial = 0
        self._thread: threading.Thread | None = None

    @contextmanager
    def watch(self, deadline: Deadline, stop: Stop) -> Iterator[None]:
        """Call `stop` if the deadline passes inside the block."""
        if not deadline.unix_seconds:
            yield
            return
        serial = self._add(deadline.unix_seconds, stop)
        try:
            yield
        finally:
            with self._wake:
                self._watched.pop(serial, None)

    def _add(self, moment: float, stop: Stop) -> int:
        with self._wake:
            self._serial += 1
            sooner = not self._watched or moment < min(entry[0] for entry in self._watched.values())
            self._watched[self._serial] = (moment, stop)
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="deadline-watch", daemon=True)
                self._thread.start()
            elif sooner:
                self._wake.notify()
            return self._serial

    def _loop(self) -> None:
        with self._wake:
            while True:
                now = time.time()
                for serial in [s for s, (moment, _) in self._watched.items() if moment <= now]:
                    self._watched.pop(serial)[1]()
                pending = [moment for moment, _ in self._watched.values()]
                self._wake.wait(min(pending) - now if pending else None)


WATCH = DeadlineWatch()
"""The watch of this process."""
