"""A running gateway with a stub connected to it, for tests."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from tiny_archives import png

from scoreguard.v1.scoring_pb2 import Image, ScoreDefendedRequest
from scoreguard.v1.scoring_pb2_grpc import ScoringServiceStub
from scoreguard.v1.spec import parse_chain
from scoreguard_handlers.config import ServeConfig
from scoreguard_handlers.gateway.service import RunningGateway, serve


@dataclass(frozen=True, kw_only=True)
class Line:
    """A gateway and a connection to it."""

    gateway: RunningGateway
    channel: grpc.aio.Channel
    stub: Any


@asynccontextmanager
async def connected(store: Path, **changes: Any) -> AsyncIterator[Line]:
    """Serve a model store in this process, local backend unless told otherwise, and connect."""
    config = ServeConfig(**{"model_store": store, "backend": "local", "port": 0, "workers": 2, **changes})
    async with serve(config) as gateway, connect(gateway) as line:
        yield line


@asynccontextmanager
async def connect(gateway: RunningGateway) -> AsyncIterator[Line]:
    """Connect to a gateway."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(gateway.address, options=options) as channel:
        yield Line(gateway=gateway, channel=channel, stub=ScoringServiceStub(channel))


def request(value: int = 51, *, metric: str = "bright", chain: str = "none", size: int = 32, **fields: Any) -> Any:
    """A request to score a grey image."""
    return ScoreDefendedRequest(
        image=Image(encoded=png(value, size)),
        metric=metric,
        defences=[step.to_message() for step in parse_chain(chain)],
        **fields,
    )


def slow_request(steps: int = 200, *, size: int = 1024, **fields: Any) -> Any:
    """A request that keeps a worker busy for about half a second a step."""
    return request(chain="+".join(["slow"] * steps), size=size, **fields)


async def failure_of(call: Any) -> grpc.aio.AioRpcError:
    """The error that a call ends with."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("the call succeeded")


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.01)


async def metrics_of(line: Line) -> str:
    """The Prometheus page of a gateway that has one."""
    url = f"http://localhost:{line.gateway.metrics_port}/metrics"
    page: str = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=5).read().decode())
    return page


def details_of(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """The google.rpc details of an error, by message name."""
    status = rpc_status.from_call(error)
    return unpack(status.details if status else [])


def unpack(details: Sequence[Any]) -> dict[str, Any]:
    """Packed details by message name."""
    found = {}
    for detail in details:
        name = detail.TypeName().rpartition(".")[2]
        message = getattr(error_details_pb2, name)()
        detail.Unpack(message)
        found[name] = message
    return found
