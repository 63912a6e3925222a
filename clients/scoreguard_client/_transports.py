"""Choose the transport for a target."""

from __future__ import annotations

from scoreguard.service import LocalSettings
from scoreguard_client._config import ConnectionConfig
from scoreguard_client._exceptions import ConfigurationError
from scoreguard_client._grpc import AsyncGrpcTransport, GrpcTransport
from scoreguard_client._local import AsyncLocalTransport, LocalTransport
from scoreguard_client._targets import local_store
from scoreguard_client.transport import AsyncTransport, Transport


def transport_to(target: str, config: ConnectionConfig) -> Transport:
    """Create a blocking transport, without opening it.

    Raises:
        ConfigurationError: the options do not fit the target.
    """
    settings = _local_settings(target, config)
    return GrpcTransport(target, config) if settings is None else LocalTransport(settings)


def async_transport_to(target: str, config: ConnectionConfig) -> AsyncTransport:
    """Create an asyncio transport, without opening it; raises as `transport_to`."""
    settings = _local_settings(target, config)
    return AsyncGrpcTransport(target, config) if settings is None else AsyncLocalTransport(settings)


def _local_settings(target: str, config: ConnectionConfig) -> LocalSettings | None:
    store = local_store(target)
    if store is not None and config.tls is not None:
        raise ConfigurationError(f"{target} runs in this process, without a connection: leave TLS out")
    return None if store is None else LocalSettings(model_store=store)
