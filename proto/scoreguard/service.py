"""The service without a network: how one part of scoreguard offers it to another in the same process.

The client imports nothing from the server, so the server registers an opener under a name that the client looks up:

    [project.entry-points."scoreguard.services"]
    local = "its_package.in_process:open_service"
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from google.protobuf.message import Message
from google.rpc import status_pb2

from scoreguard.chain.devices import CPU, ENGINES
from scoreguard.images import MAX_PIXELS
from scoreguard.support.picklable import PicklableError
from scoreguard.v1.errors import CannotServeError
from scoreguard.v1.scoring_pb2 import (
    ScoreClipRequest,
    ScoreClipResponse,
    ScoreDefendedStreamRequest,
    ScoreDefendedStreamResponse,
)

GROUP: Final = "scoreguard.services"
"""Group of the entry points."""
LOCAL: Final = "local"
"""Name of the entry point that runs a model store in this process."""


class StatusError(PicklableError):
    """A call that ends with a status that is not OK."""

    def __init__(self, status: status_pb2.Status) -> None:
        self.status = status
        """Code, message and details, as they would be sent."""
        super().__init__(status.message)


@dataclass(frozen=True, kw_only=True)
class LocalSettings:
    """What runs in this process, and with which resources: plain values, so another process can run the same."""

    model_store: Path
    """Folder of the archives."""
    workers: int | None = None
    """Scoring threads per metric; None = the cores that this process may use."""
    threads: int = 1
    """Threads of one graph run."""
    max_pixels: int = MAX_PIXELS
    """Largest image, refused before it is decoded."""
    gradients: bool | None = None
    """Whether gradients are available; None = if torch is installed."""
    memory_mib: int = 0
    """Memory that large images may take at the same time, in MiB; 0 = most of the machine's or container's memory."""
    device: str = CPU
    """Device of the graphs: auto, cpu, cuda (every GPU) or cuda:N."""
    engine: str = "auto"
    """What runs them: onnx, torchscript or auto."""
    graph_batch: int = 0
    """Images that run as one batch; 0 = 1 on the CPU, 16 on other devices."""

    def __post_init__(self) -> None:
        """Refuse numbers with which the service cannot run.

        Raises:
            CannotServeError: the message names the setting.
        """
        for name, low in (("workers", 1), ("threads", 1), ("max_pixels", 1), ("memory_mib", 0), ("graph_batch", 0)):
            value = getattr(self, name)
            if value is not None and value < low:
                raise CannotServeError(f"{name} must be at least {low}, not {value}")
        if self.engine not in ENGINES:
            raise CannotServeError(f"engine must be one of {', '.join(ENGINES)}, not {self.engine!r}")


class Service(Protocol):
    """The calls of ScoringService and GradientService. Belongs to one event loop; cancelling a call stops its work."""

    async def call(self, method: str, request: Message, seconds: float) -> Message:
        """Answer a unary call.

        Args:
            method: its full name on the wire, `/scoreguard.v1.ScoringService/ScoreDefended`.
            request: the message that the method takes; it is not modified.
            seconds: how long the caller waits.

        Raises:
            StatusError: it failed.
        """
        ...

    def stream(
        self, requests: AsyncIterator[ScoreDefendedStreamRequest], seconds: float
    ) -> AsyncIterator[ScoreDefendedStreamResponse]:
        """Answer `ScoreDefendedStream`, in the order of the requests.

        Raises:
            StatusError: the stream ends early.
        """
        ...

    def clip(self, requests: AsyncIterator[ScoreClipRequest], seconds: float) -> AsyncIterator[ScoreClipResponse]:
        """Answer `ScoreClip`: one response to all requests.

        Raises:
            StatusError: it failed.
        """
        ...


Opener: TypeAlias = Callable[[LocalSettings], AbstractAsyncContextManager[Service]]
"""Opens a service for the block: every archive verified, every golden vector scored. Raises `CannotServeError`."""
