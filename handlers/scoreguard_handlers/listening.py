"""The gRPC server's port: free, closed to oversized messages, and encrypted where asked."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import grpc

from scoreguard_handlers.config import SecurityConfig, ServeConfig
from scoreguard_handlers.errors import StartupError


def check_port_free(host: str, port: int) -> None:
    """Confirm that nobody listens on any address of the host; gRPC itself would be content with one of them.

    Raises:
        StartupError: the port is taken or the host is unknown.
    """
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise StartupError(f"cannot listen on {host!r}: {error.strerror}") from error
    for family, kind, protocol, _, address in addresses:
        _try_bind(family, kind, protocol, address)


def server_options(config: ServeConfig) -> list[tuple[str, int]]:
    """Options of the gRPC server."""
    return [
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
    ]


def authority(host: str, port: int) -> str:
    """host:port as gRPC writes it; an IPv6 address goes in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def open_port(server: grpc.aio.Server, config: ServeConfig) -> int:
    """Bind the server; returns the port.

    Raises:
        StartupError: the port is taken, or a TLS file cannot be used.
    """
    address = authority(config.host, config.port)
    try:
        if config.security.tls_key is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, _credentials(config.security))
    except RuntimeError as error:
        raise StartupError(f"cannot listen on {address}: port taken, or TLS files unusable") from error


def _credentials(security: SecurityConfig) -> grpc.ServerCredentials:
    key, certificate = _pem(security.tls_key), _pem(security.tls_cert)
    authority = _pem(security.tls_client_ca)
    return grpc.ssl_server_credentials(
        [(key or b"", certificate or b"")], root_certificates=authority, require_client_auth=authority is not None
    )


def _pem(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StartupError(f"cannot read {path}: {error.strerror}") from error
    if b"-----BEGIN " not in data:
        raise StartupError(f"{path} is not a PEM file")
    return data


def _try_bind(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> None:
    try:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(address)
    except OSError as error:
        if family == socket.AF_INET6 and error.errno not in {errno.EADDRINUSE, errno.EACCES}:
            return  # a machine without IPv6
        raise StartupError(
            f"cannot listen on {address[0]}:{address[1]}: {error.strerror}; choose another --port"
        ) from error
