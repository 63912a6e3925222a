"""Calls over any transport: retried while that may help, counted, and refused once the client is closed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any, TypeVar

from google.protobuf.message import Message

from scoreguard.v1 import scoring_pb2 as pb
from scoreguard_client._config import RetryConfig
from scoreguard_client._exceptions import CancelledError, ServerError
from scoreguard_client._retries import Retries
from scoreguard_client.transport import AsyncTransport, Deadline, Method, Request, Transport

R = TypeVar("R")


class Calls:
    """Blocking calls."""

    def __init__(self, transport: Transport, retry: RetryConfig) -> None:
        self.transport, self._retry = transport, retry
        self._closed = threading.Event()

    def unary(self, method: Method[R], request: Request, timeout: float) -> R:
        """Make one call, retried while its error may be transient.

        Raises:
            ServerError: it failed.
        """
        retries = Retries(self._retry, timeout)
        while True:
            _refuse_if(self._closed.is_set())
            try:
                response = self.transport.unary(method, request, Deadline(seconds=timeout, left=retries.left))
                return _counted(response, retries.sent)
            except ServerError as error:
                if (pause := retries.pause_after(error)) is None:
                    raise
            self._closed.wait(pause)

    def pause(self, seconds: float) -> None:
        """Wait; closing the client ends the wait."""
        self._closed.wait(seconds)

    def stream(self, method: Method[R], requests: Iterator[Message], timeout: float) -> Generator[R, None, None]:
        """Open a stream; leaving the iterator cancels it.

        Raises:
            ServerError: it failed.
        """
        _refuse_if(self._closed.is_set())
        yield from self.transport.stream(method, requests, Deadline(seconds=timeout, left=timeout))

    def close(self) -> None:
        """Close the connection."""
        self._closed.set()
        self.transport.close()


class AsyncCalls:
    """asyncio calls, all from the event loop of the first call."""

    def __init__(self, transport: AsyncTransport, retry: RetryConfig) -> None:
        self.transport, self._retry = transport, retry
        self._closed = False

    async def unary(self, method: Method[R], request: Request, timeout: float) -> R:
        """Make one call, retried while its error may be transient.

        Raises:
            ServerError: it failed.
        """
        retries = Retries(self._retry, timeout)
        while True:
            _refuse_if(self._closed)
            try:
                response = await self.transport.unary(method, request, Deadline(seconds=timeout, left=retries.left))
                return _counted(response, retries.sent)
            except ServerError as error:
                if (pause := retries.pause_after(error)) is None:
                    raise
            await self.pause(pause)

    async def pause(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def stream(
        self, method: Method[R], requests: AsyncIterator[Message], timeout: float
    ) -> AsyncGenerator[R, None]:
        """Open a stream; leaving the iterator cancels it.

        Raises:
            ServerError: it failed.
        """
        _refuse_if(self._closed)
        responses = self.transport.stream(method, requests, Deadline(seconds=timeout, left=timeout))
        try:
            async for response in responses:
                yield response
        finally:
            await responses.aclose()

    async def close(self) -> None:
        """Close the connection."""
        self._closed = True
        await self.transport.close()


def _counted(response: R, sent: int) -> R:
    """Add this client's attempts to those that the server saw: query budgets count every attempt."""
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
