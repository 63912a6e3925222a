"""End workers that do not stop although their callers have gone, so that TorchServe replaces them.

A worker stops by itself between two nodes of a graph. One that hangs in a single node, or in a library, would stay busy
until TorchServe's own limit, minutes later.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import psutil

from scoreguard_handlers.worker.board import FolderBoard

_LOOK_SECONDS: Final = 0.5
_REMEMBERED: Final = 64
logger = logging.getLogger(__name__)


class HungWorkers:
    """Checks the board every half second, in a task of the event loop."""

    def __init__(self, watched: Callable[[], tuple[FolderBoard, int]], overdue_seconds: float) -> None:
        self._watched, self._overdue_seconds = watched, overdue_seconds
        self.ended: list[int] = []
        """Process ids of the workers most recently ended here."""
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Stop checking."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                self._look()
            except Exception:  # a failed check must not be the last
                logger.exception("cannot look after the workers")

    def _look(self) -> None:
        board, parent = self._watched()
        for note in board.notes():
            seconds = note.overdue(board.left)
            if seconds > self._overdue_seconds and not self._end(note.pid, parent, seconds):
                board.erase(note.pid)

    def _end(self, pid: int, parent: int, seconds: float) -> bool:
        """End a worker by SIGKILL, since a hanging library ignores other signals; return False if it does not exist."""
        try:
            worker = psutil.Process(pid)
            if parent not in {ancestor.pid for ancestor in worker.parents()}:
                return False
            logger.warning("a worker (process %d) is still at work %.1f s after its callers left: ended", pid, seconds)
            self.ended = [*self.ended[-_REMEMBERED:], pid]
            worker.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            return False
        return True
