"""The whole service in one `async with`: archives, backend, canary, gRPC server; and all of it down again.

async with serve(ServeConfig(model_store=Path("model_store"), backend="local", port=0)) as gateway:
    print(gateway.address)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from scoreguard.v1 import scoring_pb2
from scoreguard.v1.scoring_pb2_grpc import add_GradientServiceServicer_to_server, add_ScoringServiceServicer_to_server
from scoreguard_handlers.auth import TokenFile, TokenInterceptor
from scoreguard_handlers.backends.base import Backend
from scoreguard_handlers.catalogue import Catalogue
from scoreguard_handlers.config import ServeConfig
from scoreguard_handlers.desk import Desk
from scoreguard_handlers.gradient_servicer import GradientServicer
from scoreguard_handlers.health import HealthMonitor
from scoreguard_handlers.listening import authority, check_port_free, open_port, server_options
from scoreguard_handlers.memory import MemoryBudget, default_budget
from scoreguard_handlers.servicer import ScoringServicer
from scoreguard_handlers.telemetry import Telemetry, metrics_page

_FLUSH_SECONDS = 1.0
"""After the last answer, time for its bytes to leave."""


@dataclass(frozen=True, kw_only=True)
class RunningGateway:
    """A service that can score."""

    address: str
    """host:port of the gRPC server."""
    metrics: tuple[str, ...]
    """Names of the deployed metrics."""
    backend: Backend
    """Where the chain runs."""
    desk: Desk
    """Queues, for tests and reports."""
    metrics_port: int | None
    """Port of the Prometheus page, if there is one."""


@asynccontextmanager
async def serve(config: ServeConfig) -> AsyncIterator[RunningGateway]:
    """Run the service while the block runs; on the way out, finish what is under way, then stop everything.

    Raises:
        StartupError: the port is taken, or the backend does not come up.
        IntegrityError: an archive is not what its manifest says, or scores its canary wrong.
    """
    check_port_free(config.host, config.port)
    catalogue, telemetry = Catalogue.open(config.model_store), Telemetry()
    async with AsyncExitStack() as stack:
        backend = await start_backend(catalogue, config)
        stack.push_async_callback(backend.close)
        memory = MemoryBudget(default_budget(config, len(catalogue)))
        desk = Desk(catalogue, backend, config.admission, telemetry, memory=memory, max_pixels=config.max_pixels)
        monitor = HealthMonitor(desk, config.health, _readiness_names(config), telemetry)
        await monitor.start()
        stack.push_async_callback(monitor.stop)
        server = _build(config, desk, monitor, telemetry)
        port = open_port(server, config)
        await server.start()
        stack.push_async_callback(_stop, server, desk, monitor, config.grace_seconds)
        with ExitStack() as pages:
            page = config.metrics_port
            metrics_port = None if page is None else pages.enter_context(metrics_page(telemetry, config.host, page))
            yield RunningGateway(
                address=authority(config.host, port),
                metrics=tuple(catalogue),
                backend=backend,
                desk=desk,
                metrics_port=metrics_port,
            )


async def start_backend(catalogue: Catalogue, config: ServeConfig) -> Backend:
    """Start the backend that the configuration names."""
    # A gateway in front of TorchServe runs no graph, and does without the 40 MB of what would.
    if config.backend == "local":
        from scoreguard_handlers.backends.local import LocalBackend

        return await LocalBackend.start(catalogue, config)
    from scoreguard_handlers.backends.torchserve import TorchServeBackend

    return await TorchServeBackend.start(catalogue, config)


def _build(config: ServeConfig, desk: Desk, monitor: HealthMonitor, telemetry: Telemetry) -> grpc.aio.Server:
    tokens = config.security.tokens_file
    interceptors = [TokenInterceptor(TokenFile(tokens))] if tokens else []
    server = grpc.aio.server(interceptors=interceptors, options=server_options(config))
    add_ScoringServiceServicer_to_server(ScoringServicer(desk, telemetry, gradients=config.gradients), server)
    if config.gradients:
        add_GradientServiceServicer_to_server(GradientServicer(desk, telemetry), server)
    health_pb2_grpc.add_HealthServicer_to_server(monitor.servicer, server)
    if config.reflection:
        names = (*_readiness_names(config), health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
    return server


def _readiness_names(config: ServeConfig) -> list[str]:
    services = scoring_pb2.DESCRIPTOR.services_by_name
    names = ["ScoringService"] + (["GradientService"] if config.gradients else [])
    return [str(services[name].full_name) for name in names]


async def _stop(server: grpc.aio.Server, desk: Desk, monitor: HealthMonitor, grace: float) -> None:
    """Health says NOT_SERVING and new work is refused, while the work under way goes on."""
    await monitor.stop()
    drains = [asyncio.create_task(dispatcher.drain()) for dispatcher in desk.dispatchers.values()]
    _, late = await asyncio.wait(drains, timeout=grace)
    for drain in late:
        drain.cancel()
    await server.stop(_FLUSH_SECONDS)
