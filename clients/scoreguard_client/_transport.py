"""The wire: the calls that exist, and the two ways (blocking, asyncio) to make them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from scoreguard.v1 import scoring_pb2 as pb
from scoreguard_client._config import ConnectionConfig, TLSConfig
from scoreguard_client._exceptions import CancelledError, ServerError
from scoreguard_client._retries import Retries
from scoreguard_client._status import from_rpc_error

R = TypeVar("R")


@dataclass(frozen=True)
class Method(Generic[R]):
    """One rpc."""

    path: str
    """Full name on the wire."""
    parse: Callable[[bytes], R]
    """Reads the response."""
    purpose: str
    """What it does, to say that a server does not do it."""


_SCORING: Final = "/scoreguard.v1.ScoringService"
SCORE: Final = Method(f"{_SCORING}/ScoreDefended", pb.ScoreDefendedResponse.FromString, "score pictures")
SCORE_BATCH: Final = Method(f"{_SCORING}/ScoreDefendedBatch", pb.ScoreDefendedBatchResponse.FromString, "score batches")
SCORE_STREAM: Final = Method(
    f"{_SCORING}/ScoreDefendedStream", pb.ScoreDefendedStreamResponse.FromString, "score streams"
)
PURIFY: Final = Method(f"{_SCORING}/Purify", pb.PurifyResponse.FromString, "purify pictures")
LIST_METRICS: Final = Method(f"{_SCORING}/ListMetrics", pb.ListMetricsResponse.FromString, "list its metrics")
GRADIENT: Final = Method(
    "/scoreguard.v1.GradientService/ScoreGradient",
    pb.ScoreGradientResponse.FromString,
    "give gradients (its operator has not turned them on)",
)
# The health messages have one field each, number 1: a string in, an enum out. The wrappers have the same wire form,
# which spares the client a dependency.
HEALTH: Final = Method("/grpc.health.v1.Health/Check", Int32Value.FromString, "report its health")
# The empty name would only ask whether the process is alive; a service is serving once it can score.
HEALTH_REQUEST: Final = StringValue(value=_SCORING.removeprefix("/"))
SERVING: Final = 1
METHODS: Final = (SCORE, SCORE_BATCH, SCORE_STREAM, PURIFY, LIST_METRICS, GRADIENT, HEALTH)


class Encoded(Protocol):
    """A request that was encoded before."""

    @property
    def payload(self) -> bytes:
        """The bytes."""
        ...


class Transport:
    """Blocking calls."""

    def __init__(self, target: str, config: ConnectionConfig) -> None:
        self.target, self.config = target, config
        options = config.channel_options(target)
        if config.tls is None:
            self._channel = grpc.insecure_channel(target, options)
        else:
            self._channel = grpc.secure_channel(target, _credentials(config.tls), options)
        self._calls: dict[str, Any] = {
            method.path: self._channel.unary_unary(method.path, _serialize, method.parse) for method in METHODS
        }
        self._closed = threading.Event()

    def unary(self, method: Method[R], request: Message | Encoded, timeout: float) -> R:
        """Make one call, again and again while it may get better by itself.

        Raises:
            ServerError: it failed.
        """
        retries = Retries(self.config.retry, timeout)
        while True:
            _refuse_if(self._closed.is_set())
            try:
                return _counted(self._send(method, request, retries.left), retries.sent)
            except grpc.RpcError as error:
                failure = self._failure(error, timeout, method)
                if (pause := retries.pause_after(failure)) is None:
                    raise failure from error
            self._closed.wait(pause)

    def pause(self, seconds: float) -> None:
        """Wait; closing the client ends the wait."""
        self._closed.wait(seconds)

    def stream(self, method: Method[R], requests: Iterator[Message], timeout: float) -> Iterator[R]:
        """Open a stream; leaving the iterator cancels it.

        Raises:
            ServerError: it failed.
        """
        _refuse_if(self._closed.is_set())
        open_stream: Any = self._channel.stream_stream(method.path, _serialize, method.parse)
        call = open_stream(requests, timeout=timeout, metadata=self.config.metadata())
        try:
            yield from call
        except grpc.RpcError as error:
            raise self._failure(error, timeout, method) from error
        finally:
            call.cancel()

    def close(self) -> None:
        """Hang up."""
        self._closed.set()
        self._channel.close()

    def _send(self, method: Method[R], request: Message | Encoded, seconds: float) -> R:
        response: R = self._calls[method.path](request, timeout=seconds, metadata=self.config.metadata())
        return response

    def _failure(self, error: grpc.RpcError, timeout: float, method: Method[Any]) -> ServerError:
        return _failure_of(error, self, timeout, method)


class AsyncTransport:
    """asyncio calls, all from one event loop: the one of the first call."""

    def __init__(self, target: str, config: ConnectionConfig) -> None:
        self.target, self.config = target, config
        self._channel: grpc.aio.Channel | None = None
        self._calls: dict[str, Any] = {}
        self._closed = False

    async def unary(self, method: Method[R], request: Message | Encoded, timeout: float) -> R:
        """Make one call, again and again while it may get better by itself.

        Raises:
            ServerError: it failed.
        """
        retries = Retries(self.config.retry, timeout)
        while True:
            _refuse_if(self._closed)
            try:
                return _counted(await self._send(method, request, retries.left), retries.sent)
            except grpc.RpcError as error:
                failure = self._failure(error, timeout, method)
                if (pause := retries.pause_after(failure)) is None:
                    raise failure from error
            await self.pause(pause)

    async def pause(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def stream(self, method: Method[R], requests: AsyncIterator[Message], timeout: float) -> AsyncIterator[R]:
        """Open a stream; leaving the iterator cancels it.

        Raises:
            ServerError: it failed.
        """
        _refuse_if(self._closed)
        open_stream: Any = self._open().stream_stream(method.path, _serialize, method.parse)
        call = open_stream(requests, timeout=timeout, metadata=self.config.metadata())
        try:
            async for response in call:
                yield response
        except grpc.RpcError as error:
            raise self._failure(error, timeout, method) from error
        finally:
            call.cancel()

    async def close(self) -> None:
        """Hang up."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()

    async def _send(self, method: Method[R], request: Message | Encoded, seconds: float) -> R:
        call = self._calls.get(method.path) or self._open_call(method)
        response: R = await call(request, timeout=seconds, metadata=self.config.metadata())
        return response

    def _failure(self, error: grpc.RpcError, timeout: float, method: Method[Any]) -> ServerError:
        return _failure_of(error, self, timeout, method)

    def _open_call(self, method: Method[Any]) -> Any:
        call: Any = self._open().unary_unary(method.path, _serialize, method.parse)
        self._calls[method.path] = call
        return call

    def _open(self) -> grpc.aio.Channel:
        # Late, because an asyncio channel belongs to the loop that runs when it is made.
        if self._channel is None:
            options = self.config.channel_options(self.target)
            if self.config.tls is None:
                self._channel = grpc.aio.insecure_channel(self.target, options)
            else:
                self._channel = grpc.aio.secure_channel(self.target, _credentials(self.config.tls), options)
        return self._channel


def _failure_of(
    error: grpc.RpcError, transport: Transport | AsyncTransport, timeout: float, method: Method[Any]
) -> ServerError:
    return from_rpc_error(
        error,
        target=transport.target,
        timeout=timeout,
        purpose=method.purpose,
        has_token=bool(transport.config.token),
        has_tls=transport.config.tls is not None,
    )


def _counted(response: R, sent: int) -> R:
    """Add the attempts of this client to those that the server saw: query budgets count every one."""
    if sent > 1:
        for answer in _answers_in(response):
            answer.attempts = max(answer.attempts, 1) + sent - 1
    return response


def _answers_in(response: object) -> Iterator[Any]:
    if isinstance(response, pb.ScoreDefendedBatchResponse):
        yield from (result.response for result in response.results if result.WhichOneof("result") == "response")
    elif isinstance(response, pb.ScoreDefendedResponse | pb.ScoreGradientResponse):
        yield response


def _refuse_if(closed: bool) -> None:
    if closed:
        raise CancelledError("this client is closed; make a new one")


def _serialize(request: Message | Encoded) -> bytes:
    return request.SerializeToString() if isinstance(request, Message) else request.payload


def _credentials(tls: TLSConfig) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(tls.root_certificates, tls.private_key, tls.certificate_chain)
