"""Leases: several processes share the work of one run, and that of a process that was killed is taken over.

Whoever takes a piece of work writes a lease with his name and an expiry, which a heartbeat puts off. A lease is free
for others once it expires, or at once if its process is known to be gone: it ran on this machine and does not any more.
Taking a lease from a process that lives after all (it was suspended for long) costs the work twice, and no record:
of two results the first stays.
"""

from __future__ import annotations

import os
import secrets
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import Final

LEASE_SECONDS: Final = 60.0
"""How long a lease lasts without a heartbeat."""
_BEATS: Final = 4
"""Heartbeats within the time of a lease."""
CREATION: Final = (
    "CREATE TABLE IF NOT EXISTS leases (work TEXT PRIMARY KEY, owner TEXT NOT NULL, expires REAL NOT NULL, ended REAL)"
)


class Claim(Enum):
    """Answer to a claim."""

    MINE = "mine"
    """The work is the claimant's."""
    BUSY = "busy"
    """Another process is at it."""
    ENDED = "ended"
    """Another process has done it, well or not, since the claimant started."""


class Leases:
    """The leases of one process on the works of a run."""

    def __init__(self, connection: sqlite3.Connection, *, seconds: float = LEASE_SECONDS) -> None:
        """Take leases through a connection to the run's ledger, on behalf of this process."""
        self.owner = f"{os.getpid()}@{_machine()}#{secrets.token_hex(4)}"
        """Who takes them: process, machine, and a random name, since numbers of processes come again."""
        self._connection, self._seconds, self._since = connection, seconds, time.time()

    def claim(self, work: str) -> Claim:
        """Take a piece of work, if nobody else has it."""
        with self._connection as connection:
            # The row is read and written as one: two processes never both get it.
            connection.execute("BEGIN IMMEDIATE")
            now = time.time()
            row = connection.execute("SELECT owner, expires, ended FROM leases WHERE work = ?", [work]).fetchone()
            if row is not None:
                owner, expires, ended = row
                if ended is not None and ended >= self._since:
                    return Claim.ENDED
                if ended is None and expires > now and not _is_gone(owner):
                    return Claim.BUSY
            values = (work, self.owner, now + self._seconds, None)
            connection.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)", values)
        return Claim.MINE

    def end(self, connection: sqlite3.Connection, work: str) -> None:
        """Write, as part of the transaction with the results, that a piece of work is done."""
        connection.execute("UPDATE leases SET ended = ? WHERE work = ?", [time.time(), work])

    def release(self) -> None:
        """Give back what this process holds and has not done."""
        with suppress(sqlite3.Error), self._connection as connection:
            connection.execute("DELETE FROM leases WHERE owner = ? AND ended IS NULL", [self.owner])

    @contextmanager
    def kept(self, connect: Callable[[], sqlite3.Connection]) -> Iterator[None]:
        """Renew the leases of this process while the block runs, and give back those that are left.

        Args:
            connect: opens another connection to the ledger, for the thread of the heartbeat.
        """
        stop = threading.Event()
        thread = threading.Thread(target=self._beat, args=(connect, stop), daemon=True, name="leases")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.release()

    def _beat(self, connect: Callable[[], sqlite3.Connection], stop: threading.Event) -> None:
        # A full disk ends the campaign where it writes records, not here.
        with suppress(sqlite3.Error), closing(connect()) as connection:
            while not stop.wait(self._seconds / _BEATS):
                with suppress(sqlite3.Error), connection:
                    expires = time.time() + self._seconds
                    connection.execute(
                        "UPDATE leases SET expires = ? WHERE owner = ? AND ended IS NULL", [expires, self.owner]
                    )


def _machine() -> str:
    """Name the machine, and on Linux the container, whose processes this process can see."""
    space = ""
    with suppress(OSError):
        space = str(Path("/proc/self/ns/pid").readlink())
    return f"{socket.gethostname()}/{space}"


def _is_gone(owner: str) -> bool:
    """Whether a process is known not to run any more; of another machine's nothing is known."""
    name, _, machine = owner.partition("#")[0].partition("@")
    if os.name != "posix" or machine != _machine():
        return False
    try:
        os.kill(int(name), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
