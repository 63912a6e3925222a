"""The chain in this process, on threads: no Java, no worker processes.

A thread cannot be ended from outside: one that hangs in a single node of a graph is out of service until it returns,
and work that takes too much memory ends the whole process. TorchServe's worker processes have neither limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol, Self

from scoreguard.v1.worker_pb2 import WorkerResponse
from scoreguard_handlers.backends.base import THREAD_NAME
from scoreguard_handlers.config import ServeConfig
from scoreguard_handlers.device_config import devices_of, settled
from scoreguard_handlers.worker.board import Board, MemoryBoard
from scoreguard_handlers.worker.catalogue import Catalogue, Deployment
from scoreguard_handlers.worker.pieces import Piece
from scoreguard_handlers.worker.worker import Worker


class Runner(Protocol):
    """The interface of a loaded archive; thread-safe."""

    def answer(self, pieces: Sequence[Piece]) -> WorkerResponse:
        """Answer every piece."""
        ...


class Shares:
    """The loaded archives of one metric; belongs to one event loop."""

    def __init__(self, runners: Runner | Sequence[Runner]) -> None:
        self._runners = list(runners) if isinstance(runners, Sequence) else [runners]
        self._calls = [0] * len(self._runners)

    @contextmanager
    def least_busy(self) -> Iterator[Runner]:
        """Give a call to the archive that has the fewest."""
        index = self._calls.index(min(self._calls))
        self._calls[index] += 1
        try:
            yield self._runners[index]
        finally:
            self._calls[index] -= 1


class LocalBackend:
    """Workers on a thread pool; graphs release the GIL while they run.

    On the CPU all threads share one loaded archive. On GPUs each has its own, and two threads: one decodes while the
    other's graphs run.
    """

    name = "local"

    def __init__(
        self,
        runners: Mapping[str, Runner | Sequence[Runner]],
        *,
        workers: int,
        board: Board | None = None,
        max_batch: int = 1,
        threads: int | None = None,
    ) -> None:
        """Start the threads.

        Args:
            runners: the loaded archives by metric: one, or one for each device.
            workers: calls that run at the same time.
            board: where callers that leave are noted.
            max_batch: most requests in one call; 1 where a batch is no faster.
            threads: number of threads; None = one for each worker.
        """
        self.workers, self.board, self.max_batch = workers, board or MemoryBoard(), max_batch
        # One call waits behind each thread, so no thread idles while the event loop catches up.
        self.calls = 2 * workers
        self._shares = {metric: Shares(runner) for metric, runner in runners.items()}
        self._pool = ThreadPoolExecutor(threads or workers, thread_name_prefix=THREAD_NAME)

    @classmethod
    async def start(cls, catalogue: Catalogue, config: ServeConfig) -> Self:
        """Load every archive.

        Raises:
            IntegrityError: an archive does not match its manifest.
        """
        board, found = MemoryBoard(), devices_of(config.device)
        config = settled(config, found)
        runners = {
            metric: [await asyncio.to_thread(_load, deployment, config, name, board) for name in found.names]
            for metric, deployment in catalogue.items()
        }
        threads = config.workers if found.is_cpu else 2 * config.workers
        return cls(runners, workers=config.workers, board=board, max_batch=config.graph_batch, threads=threads)

    async def run(self, metric: str, pieces: Sequence[Piece]) -> WorkerResponse:
        """Run one call on the pool; the images stay in the callers' messages."""
        with self._shares[metric].least_busy() as runner:
            return await asyncio.get_running_loop().run_in_executor(self._pool, runner.answer, pieces)

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


def _load(deployment: Deployment, config: ServeConfig, device: str, board: Board) -> Worker:
    return Worker.load(deployment.archive, replace(config.worker, device=device), board)
