"""The chain in TorchServe's workers, called over TorchServe's own gRPC on loopback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Self

import grpc
from google.protobuf.message import DecodeError

from scoreguard.v1.torchserve import LOOPBACK
from scoreguard.v1.worker_pb2 import TorchServePredictionResponse, TorchServePredictionsRequest, WorkerResponse
from scoreguard_handlers.backends.hung_workers import HungWorkers
from scoreguard_handlers.config import ServeConfig
from scoreguard_handlers.errors import (
    BackendUnavailableError,
    ChainFailedError,
    ResourceLimitError,
    ServingError,
    TooLateError,
    WorkerDiedError,
)
from scoreguard_handlers.torchserve.process import READY, TorchServeProcess
from scoreguard_handlers.torchserve.spool import Spool
from scoreguard_handlers.torchserve.supervisor import TorchServeSupervisor
from scoreguard_handlers.worker.board import FolderBoard
from scoreguard_handlers.worker.catalogue import Catalogue
from scoreguard_handlers.worker.pieces import Piece
from scoreguard_handlers.worker.wire import header

PREDICTIONS: Final = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions"
_MAP_VALUE: Final = 2
"""Field number of the value in a protobuf map entry; the key has 1."""
_MARGIN_SECONDS: Final = 2.0
"""Extra time after the deadline, in which a worker that stops, or is ended, can report it."""
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)


class TorchServeBackend:
    """One TorchServe with all its metrics."""

    name = "torchserve"

    def __init__(self, supervisor: TorchServeSupervisor, config: ServeConfig) -> None:
        self._supervisor = supervisor
        self._overdue_seconds = config.torchserve.overdue_seconds
        self._hung = HungWorkers(lambda: (self.board, self.server.pid), self._overdue_seconds)
        self.workers, self.max_batch = config.workers, max(config.admission.max_batch, config.graph_batch)
        self.calls = config.workers * config.admission.calls_per_worker
        self._closing: set[asyncio.Task[None]] = set()
        self._connect(supervisor.server)
        supervisor.on_restart(self._reconnect)

    @classmethod
    async def start(cls, catalogue: Catalogue, config: ServeConfig) -> Self:
        """Start TorchServe on the model store.

        Raises:
            StartupError: it does not start.
        """
        # The verified archives, which may have been copied, not what the model store holds by now.
        store = next(iter(catalogue.values())).archive.path.parent
        return cls(await TorchServeSupervisor.start(replace(config, model_store=store), list(catalogue)), config)

    @property
    def server(self) -> TorchServeProcess:
        """The current TorchServe; a different one after a restart."""
        return self._supervisor.server

    def _connect(self, server: TorchServeProcess) -> None:
        self._channel = grpc.aio.insecure_channel(f"{LOOPBACK}:{server.ports.grpc_inference}", options=_OPTIONS)
        self._spool, self._metadata = Spool(server.spool), server.inference_metadata
        self.board = FolderBoard(server.board)
        self._predict: Any = self._channel.unary_unary(
            PREDICTIONS,
            request_serializer=None,
            response_deserializer=TorchServePredictionResponse.FromString,
        )

    def _reconnect(self, server: TorchServeProcess) -> None:
        closing = asyncio.create_task(self._channel.close(_MARGIN_SECONDS))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self._connect(server)

    async def run(self, metric: str, pieces: Sequence[Piece]) -> WorkerResponse:
        """Run one call on some worker of the metric."""
        # For as long as a worker may work on it, so the calls under way are known.
        timeout = _timeout_of(pieces, self._overdue_seconds)

        async def send(fields: Mapping[str, bytes]) -> bytes:
            reply = await self._predict(_prediction(metric, fields), timeout=timeout, metadata=self._metadata)
            return bytes(reply.prediction)

        try:
            return WorkerResponse.FromString(await self._spool.carry(pieces, send))
        except grpc.aio.AioRpcError as error:
            raise self._failure(pieces, error.code(), error.details() or "") from error
        except DecodeError as error:
            raise ChainFailedError("the worker answered with bytes that are not a WorkerResponse") from error

    async def ready(self, metric: str) -> None:
        """Ask TorchServe for the workers' states."""
        states = [worker.status for worker in await self.server.workers(metric)]
        if READY not in states:
            why = self.server.last_error()
            raise BackendUnavailableError(f"no worker of {metric!r} is ready" + (f": {why}" if why else ""))

    def on_down(self, listener: Callable[[], None]) -> None:
        """Register a listener that is called when TorchServe ends on its own; it is then restarted."""
        self._supervisor.on_end(listener)

    async def failed(self) -> str:
        """Wait until TorchServe has ended too often."""
        return await self._supervisor.given_up()

    async def close(self) -> None:
        """Close the channel and end TorchServe."""
        await self._hung.stop()
        await self._channel.close()
        await self._supervisor.stop()

    def _failure(self, pieces: Sequence[Piece], code: grpc.StatusCode, details: str) -> ServingError:
        """Return the error that a status means; for a dead worker, with its note."""
        error = translate(code, details)
        if not _is_death(code, details):
            return error
        ids = {piece.id for piece in pieces}
        for note in self.board.notes():
            if ids.intersection(note.items):
                self.board.erase(note.pid)
                return WorkerDiedError(str(error), items=note.items, was_overdue=note.pid in self._hung.ended)
        return WorkerDiedError(str(error))


def translate(code: grpc.StatusCode, details: str) -> ServingError:
    """Return the error that TorchServe's status means; its codes alone say little.

    A handler's exception arrives as UNAVAILABLE "Prediction failed", which retry policies would resend repeatedly; a
    dead worker arrives as INTERNAL, which they would not resend.
    """
    text = details.splitlines()[0] if details else code.name
    if _is_death(code, details):
        return BackendUnavailableError("the worker died while scoring; try again")
    if "Out of resources" in text:
        return ResourceLimitError("out of memory while scoring; send a smaller image or try again later")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TooLateError("the worker did not answer before the deadline")
    if "Prediction failed" in text or "response mismatched" in text:
        return ChainFailedError("the handler raised an exception; the worker's log has the details")
    if code is grpc.StatusCode.UNAVAILABLE or "queue" in text.lower() or "workers" in text.lower():
        return BackendUnavailableError(f"TorchServe cannot take the call: {text}")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return ResourceLimitError(f"too big for TorchServe: {text}")
    return ChainFailedError(f"TorchServe answered {code.name}: {text}")


def _is_death(code: grpc.StatusCode, details: str) -> bool:
    text = details.partition("\n")[0]
    return "Worker died" in text or (code is grpc.StatusCode.INTERNAL and "no worker" in text.lower())


def _prediction(metric: str, fields: Mapping[str, bytes]) -> bytes:
    """Serialise a `TorchServePredictionsRequest`; protobuf would copy each payload three times."""
    kind = TorchServePredictionsRequest
    parts = [kind(model_name=metric).SerializeToString()]
    for name, payload in fields.items():
        entry = kind.InputEntry(key=name).SerializeToString() + header(_MAP_VALUE, len(payload))
        parts += [header(kind.INPUT_FIELD_NUMBER, len(entry) + len(payload)), entry, payload]
    return b"".join(parts)


def _timeout_of(pieces: Sequence[Piece], overdue_seconds: float) -> float | None:
    deadlines = [piece.deadline_unix_seconds for piece in pieces]
    if not deadlines or 0 in deadlines:
        return None
    return max(0.0, max(deadlines) - time.time()) + overdue_seconds + _MARGIN_SECONDS
