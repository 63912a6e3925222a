"""An in-process service and its thread: bridges blocking or asyncio callers to the service's event loop."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import suppress
from importlib.metadata import entry_points
from typing import Any, Final, cast

from google.protobuf.message import Message

from scoreguard.service import GROUP, LOCAL, LocalSettings, Opener, Service
from scoreguard.v1.errors import CannotServeError
from scoreguard_client._exceptions import ConfigurationError, MissingExtraError
from scoreguard_client._targets import LOCAL_SCHEME

_SERVICE_THREAD: Final = "scoreguard-local"
_READER_THREAD: Final = "scoreguard-local-reader"
Work = Callable[[Service], Coroutine[Any, Any, Any]]


class Running:
    """A service on its own event loop."""

    def __init__(self, settings: LocalSettings) -> None:
        """Open the service, which takes seconds: archives are verified and their golden vectors scored.

        Raises:
            ConfigurationError: the model store cannot be served.
            MissingExtraError: the server's part is not installed.
        """
        opener = _opener(settings)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._opened: Future[Service] = Future()
        # Reentrant, since the garbage collector may call `stop` at any time.
        self._lock, self._is_stopped = threading.RLock(), False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(opener, settings)), name=_SERVICE_THREAD, daemon=True
        )
        self._thread.start()
        try:
            self._service = self._opened.result()
        except CannotServeError as error:
            raise ConfigurationError(f"{_name(settings)}: {error}") from error
        except ModuleNotFoundError as error:
            raise _missing(settings, error) from error
        except KeyboardInterrupt:
            self.stop(wait=False)
            raise

    def submit(self, work: Work) -> Future[Any]:
        """Start work on the loop; cancelling the future or calling `stop` cancels the work."""
        with self._lock:
            if self._loop is not None and not self._is_stopped:
                return asyncio.run_coroutine_threadsafe(self._tracked(work), self._loop)
        refused: Future[Any] = Future()
        refused.cancel()
        refused.set_running_or_notify_cancel()
        return refused

    def stop(self, *, wait: bool = True) -> None:
        """Cancel every call and end the threads of the service; a second call does nothing.

        Args:
            wait: whether to return only when the threads have ended. False for a finaliser, which may run in one.
        """
        with self._lock:
            if not self._is_stopped and self._loop is not None:
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._is_stopped = True
        if wait:
            self._thread.join()

    async def _serve(self, opener: Opener, settings: LocalSettings) -> None:
        with self._lock:
            self._loop = asyncio.get_running_loop()
            if self._is_stopped:
                self._stopping.set()
        try:
            async with opener(settings) as service:
                self._opened.set_result(service)
                await self._stopping.wait()
                # Cancelled before the service waits for its threads, so work that is no longer needed ends early.
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
        except Exception as error:
            if self._opened.done():
                raise
            self._opened.set_exception(error)

    async def _tracked(self, work: Work) -> Any:
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._tasks.add(task)
        try:
            if self._stopping.is_set():
                raise asyncio.CancelledError
            return await work(self._service)
        finally:
            self._tasks.discard(task)


class Responses:
    """The answers of a stream, requested one by one, so a slow reader holds the stream back."""

    def __init__(
        self, running: Running, requests: AsyncIterator[Message], seconds: float, *, clip: bool = False
    ) -> None:
        """Keep the requests of a stream of images or, if `clip`, those of one clip."""
        self._running, self._requests, self._seconds, self._clip = running, requests, seconds, clip
        self._stream: Any = None

    def next(self) -> Future[Any]:
        """Request the next answer; None at the end."""
        return self._running.submit(self._next)

    def close(self) -> Future[Any]:
        """End the stream and stop its work in progress."""
        return self._running.submit(self._close)

    async def _next(self, service: Service) -> Any:
        if self._stream is None:
            start: Any = service.clip if self._clip else service.stream
            self._stream = start(self._requests, self._seconds)
        return await anext(self._stream, None)

    async def _close(self, _: Service) -> None:
        if self._stream is not None:
            with suppress(RuntimeError):  # still running but cancelled: it ends by itself
                await self._stream.aclose()


class Reader:
    """Reads an iterator, which may block, in a thread, one item per request."""

    def __init__(self, items: Iterator[Message]) -> None:
        self._wanted: queue.SimpleQueue[Future[Message | None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(items,), name=_READER_THREAD, daemon=True).start()

    async def items(self) -> AsyncIterator[Message]:
        """Yield the items to an event loop."""
        while True:
            future: Future[Message | None] = Future()
            self._wanted.put(future)
            if (item := await asyncio.wrap_future(future)) is None:
                return
            yield item

    def stop(self) -> None:
        """End the thread as soon as the iterator returns."""
        self._wanted.put(None)

    def _read(self, items: Iterator[Message]) -> None:
        while (future := self._wanted.get()) is not None:
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(next(items, None))
            except BaseException as error:  # it goes to the consumer of the item
                future.set_exception(error)


async def read_in(loop: asyncio.AbstractEventLoop, items: AsyncIterator[Message]) -> AsyncIterator[Message]:
    """Yield the items of an iterator that belongs to another event loop."""

    async def one() -> Message | None:
        return await anext(items, None)

    while (item := await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(one(), loop))) is not None:
        yield item


def _opener(settings: LocalSettings) -> Opener:
    found = entry_points(group=GROUP, name=LOCAL)
    try:
        return cast("Opener", next(iter(found)).load())
    except StopIteration:
        raise MissingExtraError(_name(settings), "serve", "scoreguard_handlers") from None
    except ModuleNotFoundError as error:
        raise _missing(settings, error) from error


def _missing(settings: LocalSettings, error: ModuleNotFoundError) -> MissingExtraError:
    return MissingExtraError(_name(settings), "serve", error.name or str(error))


def _name(settings: LocalSettings) -> str:
    return f"{LOCAL_SCHEME}{settings.model_store}"
