"""The transport without a server: a model store that runs in this process, on its own threads."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from concurrent import futures
from typing import Any, Final, TypeVar, cast

from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import Int32Value
from google.rpc import code_pb2

from scoreguard.service import LocalSettings, StatusError
from scoreguard_client._exceptions import CancelledError, ServerError
from scoreguard_client._fork import PerProcess
from scoreguard_client._in_process import Reader, Responses, Running, read_in
from scoreguard_client._status import from_status, unsupported
from scoreguard_client._targets import LOCAL_SCHEME
from scoreguard_client.transport import HEALTH, SCORE_CLIP, SERVING, Deadline, Method, Request

R = TypeVar("R")
_CLOSED: Final = "this client was closed during the call"


class _LocalBase:
    """Settings, and a service that opens on first use, once per process."""

    def __init__(self, settings: LocalSettings) -> None:
        self._settings = settings
        self._running: PerProcess[Running] = PerProcess()

    @property
    def target(self) -> str:
        """`local:` and the path of the model store."""
        return f"{LOCAL_SCHEME}{self._settings.model_store}"

    def __reduce__(self) -> tuple[type[Any], tuple[LocalSettings]]:
        """Pickle or copy the settings; the copy opens its own service."""
        return type(self), (self._settings,)

    def _service(self) -> Running:
        return self._running.get(self._open)

    def _open(self) -> Running:
        running = Running(self._settings)
        # A client that is dropped without being closed leaves no thread, and nothing remains at process exit.
        weakref.finalize(self, running.stop, wait=False).atexit = False
        return running

    def _failure(self, error: StatusError, method: Method[Any]) -> ServerError:
        failure = from_status(error.status)
        if error.status.code == code_pb2.UNIMPLEMENTED:
            return type(failure)(unsupported(self.target, method.purpose), code=failure.code)
        return failure


class LocalTransport(_LocalBase):
    """Blocking calls, answered in this process."""

    def unary(self, method: Method[R], request: Request, deadline: Deadline) -> R:
        """Make one call; opening the model store does not count towards its time.

        Raises:
            ServerError: it failed.
            ConfigurationError: the model store cannot be served.
            MissingExtraError: the server's part is not installed.
        """
        running = self._service()
        if method is HEALTH:
            return cast("R", Int32Value(value=SERVING))
        message = method.message_of(request)
        call = running.submit(lambda service: service.call(method.path, message, deadline.left))
        return cast("R", self._result(call, method))

    def stream(self, method: Method[R], requests: Iterator[Message], deadline: Deadline) -> Generator[R, None, None]:
        """Open a stream; its requests are read in a separate thread.

        Raises:
            ServerError: it failed.
        """
        running, reader = self._service(), Reader(requests)
        responses = Responses(running, reader.items(), deadline.left, clip=method is SCORE_CLIP)
        try:
            while (response := self._result(responses.next(), method)) is not None:
                yield cast("R", response)
        finally:
            reader.stop()
            futures.wait([responses.close()])

    def close(self) -> None:
        """Stop the work in progress, and free the memory and threads."""
        if (running := self._running.close()) is not None:
            running.stop()

    def _result(self, future: futures.Future[Any], method: Method[Any]) -> Any:
        try:
            return future.result()
        except StatusError as error:
            raise self._failure(error, method) from error
        except futures.CancelledError:
            raise CancelledError(_CLOSED, code="CANCELLED") from None
        except BaseException:  # such as Ctrl-C: the result is no longer needed
            future.cancel()
            raise


class AsyncLocalTransport(_LocalBase):
    """asyncio calls, answered in this process on a separate event loop."""

    async def unary(self, method: Method[R], request: Request, deadline: Deadline) -> R:
        """Make one call; opening the model store does not count towards its time.

        Raises:
            ServerError: it failed.
            ConfigurationError: the model store cannot be served.
            MissingExtraError: the server's part is not installed.
        """
        running = await asyncio.to_thread(self._service)
        if method is HEALTH:
            return cast("R", Int32Value(value=SERVING))
        message = method.message_of(request)
        call = running.submit(lambda service: service.call(method.path, message, deadline.left))
        return cast("R", await self._result(call, method))

    async def stream(
        self, method: Method[R], requests: AsyncIterator[Message], deadline: Deadline
    ) -> AsyncGenerator[R, None]:
        """Open a stream; its requests are read on the caller's own loop.

        Raises:
            ServerError: it failed.
        """
        running = await asyncio.to_thread(self._service)
        messages = read_in(asyncio.get_running_loop(), requests)
        responses = Responses(running, messages, deadline.left, clip=method is SCORE_CLIP)
        try:
            while (response := await self._result(responses.next(), method)) is not None:
                yield cast("R", response)
        finally:
            await asyncio.wait([asyncio.wrap_future(responses.close())])

    async def close(self) -> None:
        """Stop the work in progress, and free the memory and threads."""
        if (running := self._running.close()) is not None:
            await asyncio.to_thread(running.stop)

    async def _result(self, future: futures.Future[Any], method: Method[Any]) -> Any:
        try:
            return await asyncio.wrap_future(future)
        except StatusError as error:
            raise self._failure(error, method) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # cancelled by the caller
                raise
            raise CancelledError(_CLOSED, code="CANCELLED") from None
