"""Running a service on a thread of its own, and making sure that nothing of it is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import psutil
from gateways import Line, connect
from tiny_archives import HANDLER_FILE, replace_entry, write_tiny_archive

from scoreguard_handlers.config import AdmissionConfig, HealthConfig, ServeConfig, TorchServeConfig
from scoreguard_handlers.gateway.service import RunningGateway, serve

T = TypeVar("T")
FAULTY_HANDLER = '''"""The usual handler, with faults that a request can ask for by its request_id."""

import os
import signal
import time

from scoreguard_handlers.torchserve import entry as torchserve_entry


class Faulty(torchserve_entry.DefendedScoreHandler):
    """Raises, or dies, where the usual handler never does."""

    def run(self, pieces):
        for piece in pieces:
            note, name = {piece.id: piece.deadline_unix_seconds}, piece.request.head.request_id
            if name == "hang":
                with self._worker._board.working(note):
                    time.sleep(3600)
            if name == "die":
                with self._worker._board.working(note):
                    os.kill(os.getpid(), signal.SIGKILL)
            if name == "raise":
                raise ValueError("a bug in the handler")
            if name == "memory":
                raise MemoryError
        return super().run(pieces)
'''


class LoopThread:
    """An event loop on a thread: the server's home while the tests come and go."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="live-server")
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], seconds: float = 120) -> T:
        """Run a coroutine there, and wait for it."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(seconds)

    def stop(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class LiveServer:
    """A running service, and calls to it from its own loop."""

    def __init__(self, home: LoopThread, gateway: RunningGateway) -> None:
        self.gateway, self._home = gateway, home

    def run(self, scenario: Callable[[Line], Coroutine[Any, Any, T]]) -> T:
        """Run a scenario with a fresh connection."""

        async def connected() -> T:
            async with connect(self.gateway) as line:
                return await scenario(line)

        return self._home.run(connected())

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of TorchServe's workers of the first metric."""
        backend: Any = self.gateway.backend
        return [worker.pid for worker in self._home.run(backend.server.workers(self.gateway.metrics[0]))]


@contextlib.contextmanager
def running_server(config: ServeConfig) -> Iterator[LiveServer]:
    """Run a service on a thread of its own; afterwards no process of it may be left."""
    home = LoopThread()
    before = descendants()
    service = serve(config)
    try:
        yield LiveServer(home, home.run(service.__aenter__()))
    finally:
        with contextlib.suppress(RuntimeError):  # where it did not start
            home.run(service.__aexit__(None, None, None))
        home.stop()
        # Another server that runs meanwhile may have replaced a worker.
        left = {process for process in descendants() - before if before.isdisjoint(process.parents())}
        assert not left, f"left running: {left}"


def descendants() -> set[psutil.Process]:
    """Every process that this one started, directly or not, and that still runs."""
    children = psutil.Process().children(recursive=True)
    return {child for child in children if child.status() != psutil.STATUS_ZOMBIE}


def faulty_store(folder: Path) -> Path:
    """A model store whose handler has faults on request; the manifest's files are as they should be."""
    replace_entry(write_tiny_archive(folder), HANDLER_FILE, FAULTY_HANDLER.encode())
    return folder


def table_config(store: Path, backend: str) -> ServeConfig:
    """One worker and a short queue, so that a slow request is in everybody's way."""
    return ServeConfig(
        model_store=store,
        backend="local" if backend == "local" else "torchserve",
        port=0,
        workers=1,
        max_message_bytes=4 << 20,
        admission=AdmissionConfig(queue_limit=2, max_batch=1, default_deadline_seconds=30, lane_seconds=0.05),
        health=HealthConfig(period_seconds=0.5, retry_seconds=0.2, stall_seconds=3),
        torchserve=TorchServeConfig(any_handler=True, overdue_seconds=2),
    )
