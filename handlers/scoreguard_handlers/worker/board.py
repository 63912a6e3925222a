"""The board between the gateway and its workers: which callers have left, and which worker runs what.

TorchServe does not forward cancellations and does not say which worker took a call. So the gateway notes the pieces of
work whose callers have gone, and each worker notes what it works on, in a folder that belongs to one instance (or in
memory, if gateway and workers are one process). A killed worker leaves its note behind, which says what it was working
on.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

VARIABLE: Final = "SCOREGUARD_BOARD"
"""Environment variable that passes the folder to TorchServe's workers."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Note:
    """The work of one worker."""

    pid: int
    """Its process id."""
    items: Mapping[int, float]
    """Deadline (Unix time, 0 = none) of each piece of work, by its id."""

    def overdue(self, left: Mapping[int, float]) -> float:
        """Return how many seconds ago the last caller gave up; `left` has the times at which callers left.

        Negative while a caller still waits.
        """
        never = float("inf")
        moments = [min(deadline or never, left.get(item, never)) for item, deadline in self.items.items()]
        return time.time() - max(moments, default=never)


class Board(Protocol):
    """Both sides of the board; safe to use from several threads."""

    def leave(self, item: int) -> None:
        """Note that the caller of a piece of work has gone."""
        ...

    def forget(self, item: int) -> None:
        """Drop what is noted about a piece of work that has ended."""
        ...

    def gone(self, item: int) -> bool:
        """Whether the caller of a piece of work has gone."""
        ...

    def working(self, items: Mapping[int, float]) -> AbstractContextManager[None]:
        """Note what this worker works on while the block runs: deadlines by id."""
        ...


class MemoryBoard:
    """The board of one process. It keeps no notes of work: if the process dies, nothing is left to read them."""

    def __init__(self) -> None:
        self._left: set[int] = set()

    def leave(self, item: int) -> None:
        """Note that the caller of a piece of work has gone."""
        self._left.add(item)

    def forget(self, item: int) -> None:
        """Drop what is noted about a piece of work that has ended."""
        self._left.discard(item)

    def gone(self, item: int) -> bool:
        """Whether the caller of a piece of work has gone."""
        return item in self._left

    def working(self, items: Mapping[int, float]) -> AbstractContextManager[None]:
        """Do nothing."""
        del items
        return nullcontext()


class FolderBoard:
    """The board in a folder: one empty file for each caller that left, one file for each worker."""

    def __init__(self, folder: Path) -> None:
        self._gone, self._working = folder / "gone", folder / "working"
        for part in (self._gone, self._working):
            part.mkdir(parents=True, exist_ok=True)
        self.left: dict[int, float] = {}
        """When callers left (Unix time), by item; the gateway's side only."""
        self._own: tuple[int, int] | None = None

    def leave(self, item: int) -> None:
        """Note that the caller of a piece of work has gone."""
        self.left[item] = time.time()
        try:
            (self._gone / f"{item:x}").touch()
        except OSError as error:  # a full disk: the work ends at its deadline
            logger.warning("cannot tell the workers that a caller left: %s", error)

    def forget(self, item: int) -> None:
        """Drop what is noted about a piece of work that has ended."""
        if self.left.pop(item, None) is not None:
            (self._gone / f"{item:x}").unlink(missing_ok=True)

    def gone(self, item: int) -> bool:
        """Whether the caller of a piece of work has gone."""
        return (self._gone / f"{item:x}").exists()

    @contextmanager
    def working(self, items: Mapping[int, float]) -> Iterator[None]:
        """Note what this process works on while the block runs; on a full disk it works without a note."""
        note = "".join(f"{item:x} {deadline}\n" for item, deadline in items.items())
        with suppress(OSError):
            os.pwrite(self._own_file(), note.encode(), 0)
        try:
            yield
        finally:
            with suppress(OSError):
                os.ftruncate(self._own_file(), 0)

    def notes(self) -> list[Note]:
        """Return what the workers work on, including workers that died."""
        read = (_read(path) for path in self._working.iterdir())
        return [note for note in read if note is not None]

    def erase(self, pid: int) -> None:
        """Delete the note of a process that is gone."""
        (self._working / str(pid)).unlink(missing_ok=True)

    def _own_file(self) -> int:
        """Return the file of this process's note, opened once: writing a note then costs two system calls."""
        pid = os.getpid()
        if self._own is None or self._own[0] != pid:
            path = self._working / str(pid)
            self._own = pid, os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        return self._own[1]


def board_from(environment: Mapping[str, str] = os.environ) -> Board:
    """Return the board named in the environment; if there is none, one that nothing reads."""
    folder = environment.get(VARIABLE, "")
    return FolderBoard(Path(folder)) if folder else MemoryBoard()


def _read(path: Path) -> Note | None:
    try:
        pairs = [line.split() for line in path.read_text().splitlines()]
        items = {int(item, 16): float(deadline) for item, deadline in pairs}
    except (OSError, ValueError):
        return None  # it has just been removed or rewritten
    return Note(pid=int(path.name), items=items) if items else None
