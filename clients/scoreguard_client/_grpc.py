"""The default transport of a client: gRPC, blocking and asyncio."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any, Final, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from scoreguard_client._config import ConnectionConfig, TLSConfig
from scoreguard_client._exceptions import ConfigurationError, ServerError
from scoreguard_client._fork import GRPC_SURVIVES, PerProcess
from scoreguard_client._status import from_rpc_error
from scoreguard_client.transport import Deadline, Method, Request

R = TypeVar("R")
_users: Final[set[int]] = set()
"""Processes that opened a channel: this one, and those it was forked from."""


class _Line:
    """A channel and its callables, each created once."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self._unary: dict[str, Any] = {}

    def unary(self, method: Method[Any]) -> Any:
        """The callable for a method with one answer."""
        call = self._unary.get(method.path)
        if call is None:
            call = self._unary[method.path] = self.channel.unary_unary(method.path, _serialize, method.parse)
        return call

    def stream(self, method: Method[Any]) -> Any:
        """The callable for a method with many answers."""
        return self.channel.stream_stream(method.path, _serialize, method.parse)


class _GrpcBase(ABC):
    """An address, options, and a connection that opens on first use, once per process."""

    def __init__(self, target: str, config: ConnectionConfig) -> None:
        self._target, self._config = target, config
        self._line: PerProcess[_Line] = PerProcess()

    @property
    def target(self) -> str:
        """`host:port`, or one of gRPC's own forms."""
        return self._target

    def __reduce__(self) -> tuple[type[Any], tuple[str, ConnectionConfig]]:
        """Pickle or copy the address and options; the copy reconnects."""
        return type(self), (self._target, self._config)

    def _connected(self) -> _Line:
        if _users - {os.getpid()} and not GRPC_SURVIVES:
            raise ConfigurationError(
                "this process was forked from one that used gRPC, which must be told of it before it is imported: "
                "import scoreguard_client before grpc, set GRPC_ENABLE_FORK_SUPPORT=1, or start processes by spawn"
            )
        _users.add(os.getpid())
        return _Line(self._channel(self._config.channel_options(self._target), self._config.tls))

    @abstractmethod
    def _channel(self, options: list[tuple[str, Any]], tls: TLSConfig | None) -> Any:
        """A channel with TLS or without."""

    def _failure(self, error: grpc.RpcError, deadline: Deadline, method: Method[Any]) -> ServerError:
        return from_rpc_error(
            error,
            target=self._target,
            timeout=deadline.seconds,
            purpose=method.purpose,
            has_token=bool(self._config.token),
            has_tls=self._config.tls is not None,
        )


class GrpcTransport(_GrpcBase):
    """Blocking calls over gRPC."""

    def unary(self, method: Method[R], request: Request, deadline: Deadline) -> R:
        """Make one call.

        Raises:
            ServerError: it failed.
        """
        call = self._line.get(self._connected).unary(method)
        try:
            response: R = call(request, timeout=deadline.left, metadata=self._config.metadata())
        except grpc.RpcError as error:
            raise self._failure(error, deadline, method) from error
        return response

    def stream(self, method: Method[R], requests: Iterator[Message], deadline: Deadline) -> Generator[R, None, None]:
        """Open a stream; leaving the iterator cancels it.

        Raises:
            ServerError: it failed.
        """
        call = self._line.get(self._connected).stream(method)(
            requests, timeout=deadline.left, metadata=self._config.metadata()
        )
        try:
            yield from call
        except grpc.RpcError as error:
            raise self._failure(error, deadline, method) from error
        finally:
            call.cancel()

    def close(self) -> None:
        """Close the connection."""
        if (line := self._line.close()) is not None:
            line.channel.close()

    def _channel(self, options: list[tuple[str, Any]], tls: TLSConfig | None) -> grpc.Channel:
        if tls is None:
            return grpc.insecure_channel(self._target, options)
        return grpc.secure_channel(self._target, _credentials(tls), options)


class AsyncGrpcTransport(_GrpcBase):
    """asyncio calls over gRPC, all from the event loop of the first call."""

    async def unary(self, method: Method[R], request: Request, deadline: Deadline) -> R:
        """Make one call.

        Raises:
            ServerError: it failed.
        """
        call = self._line.get(self._connected).unary(method)
        try:
            response: R = await call(request, timeout=deadline.left, metadata=self._config.metadata())
        except grpc.RpcError as error:
            raise self._failure(error, deadline, method) from error
        return response

    async def stream(
        self, method: Method[R], requests: AsyncIterator[Message], deadline: Deadline
    ) -> AsyncGenerator[R, None]:
        """Open a stream; leaving the iterator cancels it.

        Raises:
            ServerError: it failed.
        """
        call = self._line.get(self._connected).stream(method)(
            requests, timeout=deadline.left, metadata=self._config.metadata()
        )
        try:
            async for response in call:
                yield response
        except grpc.RpcError as error:
            raise self._failure(error, deadline, method) from error
        finally:
            call.cancel()

    async def close(self) -> None:
        """Close the connection."""
        if (line := self._line.close()) is not None:
            await line.channel.close()

    def _channel(self, options: list[tuple[str, Any]], tls: TLSConfig | None) -> grpc.aio.Channel:
        # Created late, because an asyncio channel belongs to the loop that runs at its creation.
        if tls is None:
            return grpc.aio.insecure_channel(self._target, options)
        return grpc.aio.secure_channel(self._target, _credentials(tls), options)


def _serialize(request: Request) -> bytes:
    return request if isinstance(request, bytes) else request.SerializeToString()


def _credentials(tls: TLSConfig) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(tls.root_certificates, tls.private_key, tls.certificate_chain)
