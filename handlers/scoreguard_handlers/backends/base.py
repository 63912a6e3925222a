"""The interface of every backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from scoreguard.v1.worker_pb2 import WorkerResponse
from scoreguard_handlers.worker.board import Board
from scoreguard_handlers.worker.pieces import Piece

THREAD_NAME: Final = "scoreguard-chain"
"""Name prefix of the threads that run graphs in this process."""


class Backend(Protocol):
    """Runs pieces of work for the deployed metrics. Belongs to one event loop."""

    name: str
    """Name on the command line."""
    workers: int
    """Worker calls of one metric that run at the same time."""
    calls: int
    """Worker calls of one metric that may be under way, including those in transit."""
    max_batch: int
    """Most pieces that are worth sending in one call."""

    @property
    def board(self) -> Board:
        """The board where workers see which callers have left."""
        ...

    async def run(self, metric: str, pieces: Sequence[Piece]) -> WorkerResponse:
        """Run one worker call; return one result for each piece, in their order.

        Raises:
            WorkerDiedError: the worker died; the error names what it was working on, if that is known.
            ServingError: the call failed as a whole.
        """
        ...

    async def ready(self, metric: str) -> None:
        """Confirm that a worker of the metric is up.

        Raises:
            BackendUnavailableError: no worker is up.
        """
        ...

    def on_down(self, listener: Callable[[], None]) -> None:
        """Register a listener that is called at once when no worker of any metric is up any more."""
        ...

    async def failed(self) -> str:
        """Wait until the backend has failed permanently, and return the reason in one line."""
        ...

    async def close(self) -> None:
        """Stop everything that the backend started."""
        ...
