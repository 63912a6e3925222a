"""The methods of our services on a server: how each reads the bytes of a request and writes its answer.

A request stays in the bytes that arrived, and an answer is written once: protobuf itself would copy an image into the
message of the call, and each answer into the message of its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass
from google.rpc import status_pb2

from scoreguard.v1.scoring_pb2 import (
    PurifyRequest,
    ScoreClipRequest,
    ScoreDefendedBatchRequest,
    ScoreDefendedBatchResponse,
    ScoreDefendedRequest,
    ScoreDefendedResponse,
    ScoreDefendedResult,
    ScoreDefendedStreamRequest,
    ScoreDefendedStreamResponse,
    ScoreGradientRequest,
)
from scoreguard_handlers.gateway.clip_parts import read_clip_part
from scoreguard_handlers.worker.received import read_batch, read_request, read_stream_message
from scoreguard_handlers.worker.wire import header

Outcome: TypeAlias = ScoreDefendedResponse | status_pb2.Status
"""The outcome of one item of a batch or stream; a `ScoreDefendedResult` on the wire."""
_READERS: Final[Mapping[str, Callable[[bytes], Any]]] = {
    ScoreDefendedRequest.DESCRIPTOR.full_name: lambda data: read_request(data, ScoreDefendedRequest),
    PurifyRequest.DESCRIPTOR.full_name: lambda data: read_request(data, PurifyRequest),
    ScoreGradientRequest.DESCRIPTOR.full_name: lambda data: read_request(data, ScoreGradientRequest),
    ScoreDefendedBatchRequest.DESCRIPTOR.full_name: read_batch,
    ScoreDefendedStreamRequest.DESCRIPTOR.full_name: read_stream_message,
    ScoreClipRequest.DESCRIPTOR.full_name: read_clip_part,
}
"""Readers of requests with images, by the message's name; all others are parsed."""


_KINDS: Final[Mapping[tuple[bool, bool], Callable[..., grpc.RpcMethodHandler[Any, Any]]]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
"""Makers of handlers, by whether requests and answers are streams."""


def write_batch(outcomes: Sequence[Outcome]) -> bytes:
    """Serialise a `ScoreDefendedBatchResponse`."""
    return b"".join(
        part for outcome in outcomes for part in _result(ScoreDefendedBatchResponse.RESULTS_FIELD_NUMBER, outcome)
    )


def write_stream_message(outcome: Outcome) -> bytes:
    """Serialise a `ScoreDefendedStreamResponse`."""
    return b"".join(_result(ScoreDefendedStreamResponse.RESULT_FIELD_NUMBER, outcome))


_WRITERS: Final[Mapping[str, Callable[[Any], bytes]]] = {
    ScoreDefendedBatchResponse.DESCRIPTOR.full_name: write_batch,
    ScoreDefendedStreamResponse.DESCRIPTOR.full_name: write_stream_message,
}


def add_service(server: grpc.aio.Server, service: ServiceDescriptor, servicer: object) -> None:
    """Serve every method of a service by the servicer's method of the same name."""
    handlers = {method.name: _handler(method, getattr(servicer, method.name)) for method in service.methods}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
    server.add_registered_method_handlers(service.full_name, handlers)


def _handler(method: Any, behaviour: Callable[..., Any]) -> grpc.RpcMethodHandler[Any, Any]:
    asked, given = method.input_type, method.output_type
    reader = _READERS.get(asked.full_name) or GetMessageClass(asked).FromString
    writer = _WRITERS.get(given.full_name) or GetMessageClass(given).SerializeToString
    return _KINDS[method.client_streaming, method.server_streaming](behaviour, Reader(asked, reader), writer)


class Reader:
    """A deserialiser that knows the name of the message that it reads."""

    def __init__(self, descriptor: Any, read: Callable[[bytes], Any]) -> None:
        self.DESCRIPTOR, self._read = descriptor, read

    def __call__(self, data: bytes) -> Any:
        """Read one message.

        Raises:
            DecodeError: the bytes are not such a message.
        """
        return self._read(data)


def _result(number: int, outcome: Outcome) -> tuple[bytes, bytes, bytes]:
    """Return a field that holds a `ScoreDefendedResult`, in parts."""
    is_response = isinstance(outcome, ScoreDefendedResponse)
    body = outcome.SerializeToString()
    inner = ScoreDefendedResult.RESPONSE_FIELD_NUMBER if is_response else ScoreDefendedResult.STATUS_FIELD_NUMBER
    head = header(inner, len(body))
    return header(number, len(head) + len(body)), head, body
