"""Read what callers send: completely, in time, and as the message that the method takes.

gRPC buffers a message until it is complete, exposes nothing of it until then, and has no limit on how long that may
take. It does pass on a *call* at once, so every method is served here as a streaming one, whose message is read on
request. The request starts a clock; before it, HTTP/2's flow control lets the caller send no more than the first few
kilobytes. Bytes that are not a valid message, or hold too much, give INVALID_ARGUMENT; gRPC itself would give UNKNOWN
and log a traceback.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

import grpc
from google.protobuf.message import DecodeError

from scoreguard.v1.limits import LIMITS
from scoreguard_handlers.config import ConnectionConfig
from scoreguard_handlers.errors import InvalidRequestError, ResourceLimitError, ServingError, TooLateError
from scoreguard_handlers.gateway.auth import TokenInterceptor, is_open_to_all
from scoreguard_handlers.gateway.call_log import CallFacts, peer_of
from scoreguard_handlers.gateway.calls import Context, refuse, status_code
from scoreguard_handlers.gateway.listening import hang_up
from scoreguard_handlers.gateway.memory_return import MemoryReturn
from scoreguard_handlers.gateway.skeleton import check_skeleton, not_a_message
from scoreguard_handlers.gateway.telemetry import Telemetry
from scoreguard_handlers.logs import warn
from scoreguard_handlers.rate_limit import RateLimit
from scoreguard_handlers.worker.received import Received, ReceivedBatch

logger = logging.getLogger(__name__)
_OURS: Final = "/scoreguard."
_FEWEST_AT_ONCE: Final = 4
_AGAIN: Final = {"retry_after_seconds": "1"}
"""Metadata of a temporary overload."""


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """Placeholder in a stream for bytes that are not a valid message."""

    error: ServingError
    """The error for the caller."""


@dataclass(frozen=True)
class _Call:
    context: Context
    method: str
    """Full method name on the wire."""
    peer: str
    """Peer, read at the start: gRPC cannot return it once the call has ended."""

    @classmethod
    def of(cls, context: Context, method: str) -> Self:
        return cls(context, method, context.peer())


class MessageReader(grpc.aio.ServerInterceptor):
    """Wraps every method of a server and reads its messages."""

    def __init__(
        self,
        config: ConnectionConfig,
        max_message_bytes: int,
        telemetry: Telemetry,
        door: TokenInterceptor | None = None,
    ) -> None:
        """Keep the limits; `door` is checked again for each message of a stream, whose token may be revoked."""
        self._config, self._telemetry, self._door = config, telemetry, door
        self._arriving = asyncio.Semaphore(max(_FEWEST_AT_ONCE, config.unfinished_bytes // max_message_bytes))
        self._open_streams = self._held_bytes = 0
        self._memory, self._limit = MemoryReturn(), RateLimit()
        self._guarded: dict[str, Any] = {}

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        """Put the reader in front of the requested method."""
        handler, method = await continuation(handler_call_details), handler_call_details.method
        if handler is not None and method not in self._guarded:
            self._guarded[method] = self._guard(handler, method)
        return self._guarded.get(method)

    def _guard(self, handler: Any, method: str) -> Any:
        if handler.request_streaming and not handler.response_streaming:
            behaviour, make = self._many_to_one(handler, method), grpc.stream_unary_rpc_method_handler
        elif handler.request_streaming:
            behaviour, make = self._many(handler, method), grpc.stream_stream_rpc_method_handler
        elif handler.response_streaming:
            behaviour, make = self._one_to_many(handler, method), grpc.stream_stream_rpc_method_handler
        else:
            behaviour, make = self._one_to_one(handler, method), grpc.stream_unary_rpc_method_handler
        return make(behaviour, _reader_of(handler.request_deserializer), handler.response_serializer)

    def _one_to_one(self, handler: Any, method: str) -> Any:
        async def behaviour(_: Any, context: Context) -> Any:
            call = _Call.of(context, method)
            message = await self._first(call)
            try:
                with self._held(_size_of(message)):
                    answer = await handler.unary_unary(message, context)
            except ResourceLimitError as error:
                return await self._refuse(call, error)
            self._expect_taken(call)
            return answer

        return behaviour

    def _one_to_many(self, handler: Any, method: str) -> Any:
        async def behaviour(_: Any, context: Context) -> None:
            call = _Call.of(context, method)
            await self._respond(handler.unary_stream, await self._first(call), call)

        return behaviour

    def _many_to_one(self, handler: Any, method: str) -> Any:
        async def behaviour(_: Any, context: Context) -> Any:
            call = _Call.of(context, method)
            try:
                with self._one_more_stream():
                    async with aclosing(self._messages(call)) as messages:
                        answer = await handler.stream_unary(messages, context)
            except ResourceLimitError as error:
                return await self._refuse(call, error)
            self._expect_taken(call)
            return answer

        return behaviour

    def _many(self, handler: Any, method: str) -> Any:
        async def behaviour(_: Any, context: Context) -> None:
            call = _Call.of(context, method)
            try:
                with self._one_more_stream():
                    await self._respond(handler.stream_stream, self._messages(call), call)
            except ResourceLimitError as error:
                await self._refuse(call, error)

        return behaviour

    def _expect_taken(self, call: _Call) -> None:
        """Start the clock of an answer: gRPC sends it next, and calls back when the caller has received it."""
        due = asyncio.get_running_loop().call_later(self._config.answer_seconds, self._hang_up, call.peer)
        taken: Any = lambda _: due.cancel()  # noqa: E731
        call.context.add_done_callback(taken)

    async def _first(self, call: _Call) -> Any:
        """Return the only message of a call, or end the call."""
        seconds = self._config.message_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._arriving.acquire()
        except TimeoutError:
            problem = f"too many requests are arriving: no place for this one within {seconds:g} s; try again later"
            return await self._refuse(call, ResourceLimitError(problem, metadata=_AGAIN))
        try:
            async with asyncio.timeout(seconds):
                message = await _read(call.context)
        except TimeoutError:
            self._memory.soon()
            problem = f"the request was not complete after {seconds:g} s; send it faster or make it smaller"
            message = Unreadable(error=TooLateError(problem, metadata={"limit_seconds": f"{seconds:g}"}))
        finally:
            self._arriving.release()
        if message is grpc.aio.EOF:
            message = Unreadable(error=InvalidRequestError("the call ended without a request"))
        return await self._readable(call, message)

    async def _messages(self, call: _Call) -> AsyncGenerator[Any, None]:
        """Yield the messages of a stream; in our own streams, invalid bytes get their own answer in order."""
        seconds = self._config.stream_idle_seconds
        while True:
            try:
                async with asyncio.timeout(seconds):
                    message = await _read(call.context)
            except TimeoutError:
                self._memory.soon()
                problem = f"the stream brought no complete request for {seconds:g} s; open a new one"
                message = await self._refuse(call, TooLateError(problem))
            if message is grpc.aio.EOF:
                return
            await self._check_token(call)
            yield message if call.method.startswith(_OURS) else await self._readable(call, message)

    async def _check_token(self, call: _Call) -> None:
        """End a stream whose token has been revoked since it was opened."""
        if self._door and not is_open_to_all(call.method):
            reason = self._door.reason_against(call.context.invocation_metadata() or ())
            if reason:
                await self._door.reject(call.context, call.method, call.peer, reason)

    async def _respond(self, method: Any, request: Any, call: _Call) -> None:
        """Answer with either kind of method: one that yields, or one that writes by itself."""
        if not inspect.isasyncgenfunction(method):
            await method(request, call.context)
            return
        loop = asyncio.get_running_loop()
        async for response in method(request, call.context):
            due = loop.call_later(self._config.answer_seconds, self._hang_up, call.peer)
            try:
                await call.context.write(response)
            except Exception as error:
                # The caller has gone; gRPC would log its own failure to write as ours.
                raise asyncio.CancelledError from error
            finally:
                due.cancel()

    def _hang_up(self, peer: str) -> None:
        """End the connection of a caller that does not read its answers."""
        warn(logger, self._limit, "hung up", "hung up", {"peer": peer_of(peer), "reason": "takes no answers"})
        hang_up(peer)
        self._memory.soon()

    @contextmanager
    def _held(self, size: int) -> Iterator[None]:
        """Count the bytes of a request while it is under way; the queues bound small ones."""
        limit = self._config.held_bytes
        if size <= LIMITS.request_bytes:
            yield
            return
        if self._held_bytes and self._held_bytes + size > limit:
            problem = f"the requests under way hold {self._held_bytes} bytes, this one has {size}: the limit is {limit}"
            metadata = {"size_bytes": str(size), "limit_bytes": str(limit), **_AGAIN}
            raise ResourceLimitError(f"{problem}; try again later", metadata=metadata)
        self._held_bytes += size
        try:
            yield
        finally:
            self._held_bytes -= size

    @contextmanager
    def _one_more_stream(self) -> Iterator[None]:
        limit = self._config.open_streams
        if self._open_streams >= limit:
            metadata = {"limit": str(limit), **_AGAIN}
            raise ResourceLimitError(f"{limit} streams are open: that is the limit; try again later", metadata=metadata)
        self._open_streams += 1
        try:
            yield
        finally:
            self._open_streams -= 1

    async def _readable(self, call: _Call, message: Any) -> Any:
        if isinstance(message, Unreadable):
            return await self._refuse(call, message.error)
        return message

    async def _refuse(self, call: _Call, error: ServingError) -> Any:
        facts = CallFacts(method=call.method.rpartition("/")[2], peer=call.peer, unreadable=True)
        facts.code, facts.message = status_code(error.code), str(error)
        with self._telemetry.call(facts):
            pass
        return await refuse(call.context, error)


async def _read(context: Context) -> Any:
    """Return the next message.

    An abandoned read is left to end with its call: gRPC's core writes into it until then.
    """
    reading = asyncio.ensure_future(context.read())
    reading.add_done_callback(_ignore_outcome)
    return await asyncio.shield(reading)


def _ignore_outcome(reading: asyncio.Future[Any]) -> None:
    if not reading.cancelled():
        reading.exception()


def _size_of(message: Any) -> int:
    """Return the size of a request; it is known for our own messages, while protobuf would serialise to count."""
    return message.size if isinstance(message, Received | ReceivedBatch) else message.ByteSize()


def _reader_of(deserialise: Any) -> Callable[[bytes], Any]:
    """Wrap a deserialiser with limits; it returns a value for bytes that it cannot read."""
    descriptor = getattr(deserialise, "__self__", deserialise).DESCRIPTOR

    def read(data: bytes) -> Any:
        try:
            check_skeleton(data, descriptor)
            return deserialise(data)
        except ServingError as error:
            return Unreadable(error=error)
        except DecodeError:
            return Unreadable(error=not_a_message(descriptor.name, len(data)))

    return read
