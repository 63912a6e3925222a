"""The chain in this process, on threads: no Java, no worker processes.

A thread cannot be ended from outside: one that hangs in a single node of a graph is out of service until it returns,
and work that takes too much memory ends the whole process. TorchServe's worker processes have neither limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, Self

from scoreguard.v1.worker_pb2 import WorkerResponse
from scoreguard_handlers.backends.base import THREAD_NAME
from scoreguard_handlers.config import ServeConfig
from scoreguard_handlers.worker.board import Board, MemoryBoard
from scoreguard_handlers.worker.catalogue import Catalogue
from scoreguard_handlers.worker.pieces import Piece
from scoreguard_handlers.worker.worker import Worker


class Runner(Protocol):
    """The interface of a loaded archive; thread-safe."""

    def answer(self, pieces: Sequence[Piece]) -> WorkerResponse:
        """Answer every piece."""
        ...


class LocalBackend:
    """Workers on a thread pool; graphs release the GIL while they run."""

    name = "local"
    max_batch = 1
    """A call costs almost nothing here, so requests never share one."""

    def __init__(self, runners: Mapping[str, Runner], *, workers: int, board: Board | None = None) -> None:
        self.workers, self.board = workers, board or MemoryBoard()
        # One call waits behind each thread, so no thread idles while the event loop catches up.
        self.calls = 2 * workers
        self._runners = dict(runners)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=THREAD_NAME)

    @classmethod
    async def start(cls, catalogue: Catalogue, config: ServeConfig) -> Self:
        """Load every archive.

        Raises:
            IntegrityError: an archive does not match its manifest.
        """
        board = MemoryBoard()
        runners = {
            metric: await asyncio.to_thread(Worker.load, deployment.archive, config.worker, board)
            for metric, deployment in catalogue.items()
        }
        return cls(runners, workers=config.workers, board=board)

    async def run(self, metric: str, pieces: Sequence[Piece]) -> WorkerResponse:
        """Run one call on the pool; the images stay in the callers' messages."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._runners[metric].answer, pieces)

    async def ready(self, metric: str) -> None:
        """Return at once: the threads are up as long as this process."""

    def on_down(self, listener: Callable[[], None]) -> None:
        """Ignore the listener: the workers are threads of this process and never down."""

    async def failed(self) -> str:
        """Wait forever: a failure of this backend ends the process."""
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        return await never

    async def close(self) -> None:
        """Accept no more calls; running ones end at their deadline."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def join(self) -> None:
        """Block until no thread is left; call it after `close`."""
        self._pool.shutdown(wait=True)
