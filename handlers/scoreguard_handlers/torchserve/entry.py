"""The TorchServe side: the base class of an archive's handler.

TorchServe passes a list of dictionaries, one per request. The key `data` holds a serialized `WorkerRequest` (from the
gateway, or any gRPC caller of `Predictions`); anything else, and everything over HTTP, is a form with an image. This
class can be imported and tested without TorchServe; it only uses the `context` that TorchServe passes in.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from google.protobuf.message import DecodeError

from scoreguard.chain.devices import CUDA, gpu_count
from scoreguard.v1.archive import Archive
from scoreguard.v1.worker_pb2 import WorkerResponse, WorkResult
from scoreguard_handlers.config import WorkerConfig
from scoreguard_handlers.environment import worker_config
from scoreguard_handlers.errors import InvalidRequestError, ServingError, as_serving_error
from scoreguard_handlers.torchserve.fields import came_over_http, mark_repeated_fields
from scoreguard_handlers.torchserve.http_form import read_form, write_answer
from scoreguard_handlers.torchserve.response_limit import limit_from, serialised
from scoreguard_handlers.torchserve.shared_files import blob_folder
from scoreguard_handlers.torchserve.spool import INLINE, SPOOLED, answer_spooled
from scoreguard_handlers.torchserve.worker_memory import limit_memory
from scoreguard_handlers.worker.board import board_from
from scoreguard_handlers.worker.pieces import Piece, read_call
from scoreguard_handlers.worker.status import to_status
from scoreguard_handlers.worker.wire import Buffer
from scoreguard_handlers.worker.worker import Worker


class Context(Protocol):
    """The part of TorchServe's context that is used here."""

    @property
    def system_properties(self) -> Mapping[str, Any]:
        """`model_dir`: the folder that TorchServe unpacked the archive into."""
        ...

    def get_all_request_header(self, idx: int) -> Mapping[str, Any]:
        """Return the headers of one request; they include those of its fields, as dictionaries."""
        ...

    def set_response_status(self, code: int, phrase: str, idx: int) -> None:
        """Set the HTTP status of one request."""

    def set_response_content_type(self, request_id: int, value: str) -> None:
        """Set the content type of one response."""


class DefendedScoreHandler:
    """Runs the defences, then the metric, of one archive."""

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def initialize(self, context: Context) -> None:
        """Load the archive from TorchServe's model folder and score the canary.

        Raises:
            IntegrityError: a file does not match the manifest, or the canary has a wrong score.
        """
        archive = Archive(Path(str(context.system_properties["model_dir"])), blob_folder())
        self._worker = Worker.load(archive, _config(context), board_from())
        self._worker.canary()
        mark_repeated_fields()
        limit_memory()
        # From here on, TorchServe's worker would print two lines per request, which its Java side then parses.
        logging.getLogger().setLevel(logging.WARNING)

    def handle(self, data: Sequence[Mapping[str, Any]], context: Context) -> list[bytes]:
        """Answer every request of TorchServe's batch: protobuf to protobuf, form to JSON."""
        return [self._answer(request, index, context) for index, request in enumerate(data)]

    def run(self, pieces: Sequence[Piece]) -> WorkerResponse:
        """Answer the pieces of one call."""
        if self._worker is None:
            raise RuntimeError("the handler was not initialized")
        return self._worker.answer(pieces)

    def _answer(self, request: Mapping[str, Any], index: int, context: Context) -> bytes:
        if not came_over_http(context.get_all_request_header(index)):
            if isinstance(payload := request.get(INLINE), bytes | bytearray):
                return self._answer_wire(payload)
            if isinstance(name := request.get(SPOOLED), bytes | bytearray):
                return self._answer_spooled(bytes(name))
        return self._answer_form(request, index, context)

    def _answer_wire(self, payload: Buffer) -> bytes:
        try:
            return serialised(self.run(read_call(payload)), limit_from())
        except DecodeError:
            error = InvalidRequestError("the payload under 'data' is not a scoreguard.v1.WorkerRequest", field="data")
            return WorkerResponse(results=[_status_result(error)]).SerializeToString()

    def _answer_spooled(self, name: bytes) -> bytes:
        try:
            return answer_spooled(name, self._answer_wire)
        except ServingError as error:
            return WorkerResponse(results=[_status_result(error)]).SerializeToString()

    def _answer_form(self, form: Mapping[str, Any], index: int, context: Context) -> bytes:
        answer = write_answer(self._score_form(form))
        context.set_response_content_type(index, "application/json")
        context.set_response_status(answer.status, answer.phrase, index)
        return answer.body

    def _score_form(self, form: Mapping[str, Any]) -> WorkResult:
        try:
            metric = self._worker.archive.name if self._worker else ""
            return self.run([Piece.of(read_form(form, metric))]).results[0]
        except Exception as error:  # raising it would fail the whole batch and answer without JSON
            return _status_result(as_serving_error(error))


def _config(context: Context) -> WorkerConfig:
    """Return the worker's configuration, on the GPU that TorchServe assigned to it."""
    config, gpu = worker_config(), context.system_properties.get("gpu_id")
    return _on_gpu(config, int(gpu)) if config.device == CUDA and gpu is not None else config


def _on_gpu(config: WorkerConfig, number: int) -> WorkerConfig:
    return replace(config, device=f"{CUDA}:{number % max(gpu_count(), 1)}")


def _status_result(error: ServingError) -> WorkResult:
    return WorkResult(status=to_status(error))
