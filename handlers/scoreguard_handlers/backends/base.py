"""What every backend offers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from scoreguard.v1.worker_pb2 import WorkerResponse
from scoreguard_handlers.worker.board import Board
from scoreguard_handlers.worker.pieces import Piece

THREAD_NAME: Final = "scoreguard-chain"
"""How the names of threads that run graphs in this process begin."""


class Backend(Protocol):
    """Runs pieces of work of the deployed metrics. Belongs to one event loop."""

    name: str
    """Name on the command line."""
    workers: int
    """Worker calls of one metric that run at the same time."""
    calls: int
    """Worker calls of one metric that may be under way, those on their way included."""
    max_batch: int
    """Most pieces in one call for which a call is worth it."""

    @property
    def board(self) -> Board:
        """Where workers see who has left."""
        ...

    async def run(self, metric: str, pieces: Sequence[Piece]) -> WorkerResponse:
        """Run one worker call; one result for each piece, in their order.

        Raises:
            WorkerDiedError: the worker died; what it was working on is named where that is known.
            ServingError: the call failed as a whole.
        """
        ...

    async def ready(self, metric: str) -> None:
        """Confirm that a worker of the metric is up.

        Raises:
            BackendUnavailableError: none is.
        """
        ...

    def on_down(self, listener: Callable[[], None]) -> None:
        """Be told at once when no worker of any metric is up any more."""
        ...

    async def failed(self) -> str:
        """Wait until the backend is beyond repair, and say why in one line."""
        ...

    async def close(self) -> None:
        """Stop everything that was started."""
        ...
