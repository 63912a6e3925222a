"""The whole service in one `async with`: start archives, backend, canary and gRPC server, then shut everything down.

async with serve(ServeConfig(model_store=Path("model_store"), backend="local", port=0)) as gateway:
    print(gateway.address)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from scoreguard.chain.onnx_devices import check_one_onnxruntime
from scoreguard.v1 import scoring_pb2
from scoreguard_handlers.backends.base import Backend
from scoreguard_handlers.config import ServeConfig
from scoreguard_handlers.device_config import devices_elsewhere, devices_of, settled
from scoreguard_handlers.errors import StartupError
from scoreguard_handlers.gateway.auth import TokenInterceptor
from scoreguard_handlers.gateway.call_log import CallLog
from scoreguard_handlers.gateway.exposure import check_exposure
from scoreguard_handlers.gateway.gradient_servicer import GradientServicer
from scoreguard_handlers.gateway.health import HealthMonitor
from scoreguard_handlers.gateway.listening import (
    authority,
    check_port_free,
    check_tls,
    close_connections,
    open_port,
    server_options,
)
from scoreguard_handlers.gateway.messages import MessageReader
from scoreguard_handlers.gateway.methods import add_service
from scoreguard_handlers.gateway.request_router import RequestRouter
from scoreguard_handlers.gateway.servicer import ScoringServicer
from scoreguard_handlers.gateway.store_copy import StoreWatch, copied_store
from scoreguard_handlers.gateway.telemetry import Telemetry, metrics_page
from scoreguard_handlers.gateway.tokens import TokenFile
from scoreguard_handlers.logs import FIELDS
from scoreguard_handlers.platform_check import check_platform
from scoreguard_handlers.worker.catalogue import Catalogue
from scoreguard_handlers.worker.memory import MemoryBudget, default_budget

logger = logging.getLogger(__name__)
_FLUSH_SECONDS: Final = 0.2
"""Time after the last answer for its bytes to be sent."""


@dataclass(frozen=True, kw_only=True)
class RunningGateway:
    """A service that can score."""

    address: str
    """host:port of the gRPC server."""
    metrics: tuple[str, ...]
    """Names of the deployed metrics."""
    backend: Backend
    """Where the chain runs."""
    router: RequestRouter
    """Queues, for tests and reports."""
    metrics_port: int | None
    """Port of the Prometheus page, if there is one."""


@asynccontextmanager
async def serve(config: ServeConfig) -> AsyncIterator[RunningGateway]:
    """Run the service while the block runs; on the way out, finish what is under way, then stop everything.

    Raises:
        StartupError: the port is taken, a file cannot be used, or the backend does not start.
        IntegrityError: an archive does not match its manifest, or scores its canary wrong.
    """
    check_platform()
    check_one_onnxruntime()
    config = _on_this_machine(config)
    watch = StoreWatch(config.model_store)
    async with AsyncExitStack() as stack:
        # Everything that can be checked at once is checked before a backend is started.
        with _files_named():
            telemetry, tokens = Telemetry(CallLog(config.log.slow_call_seconds)), _checked(config)
            catalogue = Catalogue.open(config.model_store, any_handler=config.torchserve.any_handler)
            catalogue = stack.enter_context(copied_store(catalogue))
            stack.push_async_callback(_cancel, asyncio.create_task(watch.run()))
            metrics_port = _open_page(stack, config, telemetry)
            backend = await start_backend(catalogue, config)
        stack.push_async_callback(backend.close)
        memory = MemoryBudget(default_budget(config, len(catalogue)))
        router = RequestRouter(
            catalogue, backend, config.admission, telemetry, memory=memory, max_pixels=config.max_pixels
        )
        monitor = HealthMonitor(router, config.health, _readiness_names(config), telemetry)
        await monitor.start()
        stack.push_async_callback(monitor.stop)
        server = _build(config, router, monitor, telemetry, tokens)
        port = open_port(server, config)
        await server.start()
        stack.push_async_callback(_stop, server, port, router, monitor, config)
        gateway = RunningGateway(
            address=authority(config.host, port),
            metrics=tuple(catalogue),
            backend=backend,
            router=router,
            metrics_port=metrics_port,
        )
        facts = {"address": gateway.address, "backend": backend.name, "metrics": ",".join(catalogue)}
        logger.info("start", extra={FIELDS: facts})
        yield gateway


def _on_this_machine(config: ServeConfig) -> ServeConfig:
    """Settle what depends on the machine, and say which device `auto` chose."""
    # A gateway in front of TorchServe runs no graph, so it takes no memory of a GPU.
    found = devices_of(config.device) if config.backend == "local" else devices_elsewhere(config.device)
    if found.announcement:
        logger.warning("%s", found.announcement)
    return settled(config, found)


async def start_backend(catalogue: Catalogue, config: ServeConfig) -> Backend:
    """Start the backend that the configuration names."""
    # A gateway in front of TorchServe runs no graph, so it saves the 40 MB of the engine.
    if config.backend == "local":
        from scoreguard_handlers.backends.local import LocalBackend

        return await LocalBackend.start(catalogue, config)
    from scoreguard_handlers.backends.torchserve import TorchServeBackend

    return await TorchServeBackend.start(catalogue, config)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _checked(config: ServeConfig) -> TokenFile | None:
    """Return the tokens, after checking everything that an operator may have misconfigured."""
    if config.gradients and not _is_installed("torch"):
        raise StartupError("--gradients needs pip install 'scoreguard[serve]' (no module torch)")
    if config.port and config.port == config.metrics_port:
        raise StartupError(f"--port and --metrics-port are both {config.port}: choose another --metrics-port")
    check_port_free(config.host, config.port)
    check_exposure(config)
    check_tls(config.security)
    return None if config.security.tokens_file is None else TokenFile(config.security.tokens_file)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _open_page(stack: AsyncExitStack, config: ServeConfig, telemetry: Telemetry) -> int | None:
    if config.metrics_port is None:
        return None
    return stack.enter_context(metrics_page(telemetry, config.host, config.metrics_port))


@contextmanager
def _files_named() -> Iterator[None]:
    """Report a file or folder that cannot be used to the operator, in one line with its name."""
    try:
        yield
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise StartupError(f"cannot start: {where}{error.strerror or error}") from error


def _build(
    config: ServeConfig, router: RequestRouter, monitor: HealthMonitor, telemetry: Telemetry, tokens: TokenFile | None
) -> grpc.aio.Server:
    door = TokenInterceptor(tokens, telemetry) if tokens else None
    reader = MessageReader(config.connections, config.max_message_bytes, telemetry, door)
    server = grpc.aio.server(interceptors=[door, reader] if door else [reader], options=server_options(config))
    services = scoring_pb2.DESCRIPTOR.services_by_name
    add_service(server, services["ScoringService"], ScoringServicer(router, telemetry, config))
    if config.gradients:
        add_service(server, services["GradientService"], GradientServicer(router, telemetry, config))
    health_pb2_grpc.add_HealthServicer_to_server(monitor.servicer, server)
    if config.reflection:
        names = (*_readiness_names(config), health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
    return server


def _readiness_names(config: ServeConfig) -> list[str]:
    services = scoring_pb2.DESCRIPTOR.services_by_name
    names = ["ScoringService"] + (["GradientService"] if config.gradients else [])
    return [str(services[name].full_name) for name in names]


async def _stop(
    server: grpc.aio.Server, port: int, router: RequestRouter, monitor: HealthMonitor, config: ServeConfig
) -> None:
    """Stop in four steps: announce it, serve on until load balancers notice, refuse new work and finish, close.

    If cancelled, it continues with the last step.
    """
    try:
        await monitor.stop()
        await asyncio.sleep(config.drain_seconds)
        drains = [asyncio.create_task(dispatcher.drain()) for dispatcher in router.dispatchers.values()]
        _, late = await asyncio.wait(drains, timeout=config.grace_seconds)
        for drain in late:
            drain.cancel()
        await asyncio.sleep(_FLUSH_SECONDS)
    finally:
        close_connections(port)
        await server.stop(_FLUSH_SECONDS)
