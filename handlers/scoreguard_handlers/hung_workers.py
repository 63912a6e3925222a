"""Workers that do not stop although nobody waits for what they are at: ended, so that TorchServe replaces them.

A worker stops by itself between two nodes of a graph. What hangs in one node, or in a library, would keep it until
TorchServe's own limit, minutes later.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import suppress
from typing import Final, Protocol

import psutil

from scoreguard_handlers.board import FolderBoard

_LOOK_SECONDS: Final = 0.5
_REMEMBERED: Final = 64
logger = logging.getLogger(__name__)


class Parent(Protocol):
    """Whose children the workers are."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...


class HungWorkers:
    """Looks at the board every half second, from a task of the event loop."""

    def __init__(self, board: FolderBoard, parent: Parent, overdue_seconds: float) -> None:
        self._board, self._parent, self._overdue_seconds = board, parent, overdue_seconds
        self.ended: list[int] = []
        """Process ids of workers that were ended here, the last ones."""
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Look no more."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                self._look()
            except Exception:  # one look that fails must not be the last
                logger.exception("cannot look after the workers")

    def _look(self) -> None:
        for note in self._board.notes():
            if (seconds := note.overdue(self._board.left)) > self._overdue_seconds:
                self._end(note.pid, seconds)

    def _end(self, pid: int, seconds: float) -> None:
        """By SIGKILL, since a worker that hangs in a library hears no other signal."""
        try:
            worker = psutil.Process(pid)
            if self._parent.pid not in {ancestor.pid for ancestor in worker.parents()}:
                raise psutil.NoSuchProcess(pid)
            logger.warning("a worker (process %d) is still at work %.1f s after its callers left: ended", pid, seconds)
            self.ended = [*self.ended[-_REMEMBERED:], pid]
            worker.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            self._board.erase(pid)
