"""Shared by all gRPC methods: errors to status, time left, and a window of items under way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Self, TypeVar

import grpc
from google.rpc import status_pb2
from grpc_status import rpc_status

from scoreguard.service import StatusError
from scoreguard_handlers.errors import ServingError, as_serving_error
from scoreguard_handlers.gateway.call_log import CallFacts
from scoreguard_handlers.gateway.telemetry import Telemetry
from scoreguard_handlers.worker.status import to_status

Context = grpc.aio.ServicerContext[Any, Any]
S = TypeVar("S")
T = TypeVar("T")
REQUEST_ID_KEY: Final = "scoreguard-request-id"
"""Trailing metadata: the id under which the server logged a request whose caller gave none."""
_LONGEST_COUNT: Final = 10
"""Most characters of a number that is parsed."""
_MOST_ATTEMPTS: Final = 1000
"""Upper bound on attempts: more than any channel makes."""
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
AT_THE_DEADLINE_SECONDS: Final = 0.2
"""gRPC cancels a call at its deadline; a cancellation this close before it counts as one."""
_FOREVER_SECONDS: Final = 1e8
"""gRPC reports centuries as the time left if the caller set no deadline."""


def status_of(error: Exception) -> status_pb2.Status:
    """Return the wire status of any exception."""
    return error.status if isinstance(error, StatusError) else to_status(as_serving_error(error))


def status_code(number: int) -> grpc.StatusCode:
    """Return gRPC's code for a number; UNKNOWN for an invalid one."""
    return _CODES.get(number, grpc.StatusCode.UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """The caller and its deadline, read once, while the call is known to exist.

    A call that has ended is freed, and asking its context for the peer then crashes the process. Work that a call
    started may continue for a moment after it, so only the method itself may use the context.
    """

    peer: str
    """The connection."""
    name: str
    """The token if there is one, so that more connections give no larger share; otherwise the connection."""
    attempts: int
    """How often the call was sent until it arrived here: gRPC channels count their retries in the metadata."""
    deadline: float | None
    """When the caller gives up (`time.monotonic`); None = never."""

    @classmethod
    def of(cls, context: Context) -> Self:
        """Read it from the context; call this only at the start of a method, before anything is awaited."""
        metadata, peer, left = dict(context.invocation_metadata() or ()), context.peer(), context.time_remaining()
        given = str(metadata.get("grpc-previous-rpc-attempts", "0"))
        # A caller may send any value under this name.
        counts = given.isascii() and given.isdecimal() and len(given) < _LONGEST_COUNT
        return cls(
            peer=peer,
            name=str(metadata.get("authorization") or peer),
            attempts=1 + min(int(given), _MOST_ATTEMPTS) if counts else 1,
            deadline=None if left is None or left > _FOREVER_SECONDS else time.monotonic() + left,
        )

    @property
    def seconds_left(self) -> float | None:
        """Return the time until the caller gives up; None if it never does."""
        return None if self.deadline is None else self.deadline - time.monotonic()


async def answer(
    telemetry: Telemetry, method: str, context: Context, caller: Caller, request: Any, work: Awaitable[T]
) -> T:
    """Await the answer of a unary call; an error ends the call with its code and details."""
    facts = CallFacts(method=method, peer=caller.peer, request=request)
    if not getattr(request, "request_id", ""):
        context.set_trailing_metadata(((REQUEST_ID_KEY, facts.request_id),))
    with telemetry.call(facts):
        try:
            return await work
        except asyncio.CancelledError:
            left = caller.seconds_left
            if left is not None and left < AT_THE_DEADLINE_SECONDS:
                facts.code = grpc.StatusCode.DEADLINE_EXCEEDED
            raise
        except Exception as error:  # the caller gets a status for any error
            status = status_of(error)
            facts.code, facts.message = status_code(status.code), status.message
    return await _abort(context, rpc_status.to_status(status))


async def refuse(context: Context, error: ServingError) -> NoReturn:
    """End a call with an error."""
    await _abort(context, rpc_status.to_status(to_status(error)))


async def _abort(context: Context, status: grpc.Status) -> NoReturn:
    named = tuple(context.trailing_metadata() or ())
    await context.abort(status.code, status.details, (*status.trailing_metadata, *named))
    raise RuntimeError("abort returned")  # it never does


async def in_order(
    items: AsyncIterator[S], work: Callable[[S], Coroutine[Any, Any, T]], window: int
) -> AsyncGenerator[T, None]:
    """Process at most `window` items at once, and yield the answers in the order of the items."""
    slots = asyncio.Semaphore(window)
    tasks: asyncio.Queue[asyncio.Task[T] | None] = asyncio.Queue()
    reader = asyncio.create_task(_read(items, work, slots, tasks))
    try:
        while (task := await tasks.get()) is not None:
            yield await task
            slots.release()
        await reader
    finally:
        reader.cancel()
        await asyncio.gather(reader, *_cancelled(tasks), return_exceptions=True)


async def each(items: Iterable[S]) -> AsyncIterator[S]:
    """Yield the items of a list as a stream."""
    for item in items:
        yield item


async def _read(
    items: AsyncIterator[S],
    work: Callable[[S], Coroutine[Any, Any, T]],
    slots: asyncio.Semaphore,
    tasks: asyncio.Queue[asyncio.Task[T] | None],
) -> None:
    """Start an item when a slot is free; the slot is released when the answer has been passed on."""
    try:
        await slots.acquire()
        async for item in items:
            tasks.put_nowait(asyncio.create_task(work(item)))
            await slots.acquire()
    finally:
        tasks.put_nowait(None)


def _cancelled(tasks: asyncio.Queue[asyncio.Task[T] | None]) -> list[asyncio.Task[T]]:
    left = [task for _ in range(tasks.qsize()) if (task := tasks.get_nowait()) is not None]
    for task in left:
        task.cancel()
    return left
