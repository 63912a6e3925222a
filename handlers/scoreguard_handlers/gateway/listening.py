"""The gRPC server's port: free, closed to oversized messages, and encrypted if configured."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import grpc
import psutil

from scoreguard_handlers.config import SecurityConfig, ServeConfig
from scoreguard_handlers.errors import StartupError

_IPV4_IN_IPV6: Final = "::ffff:"
"""Prefix of an IPv4 peer on a socket that listens for both kinds of address."""


def check_port_free(host: str, port: int) -> None:
    """Confirm that the port is free on every address of the host; gRPC itself would accept a single free one.

    Raises:
        StartupError: the port is taken or the host is unknown.
    """
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        why = error.strerror if isinstance(error, socket.gaierror) else "not a host name"
        raise StartupError(f"cannot listen on {host!r}: {why}; choose another --host") from error
    for family, kind, protocol, _, address in addresses:
        _try_bind(family, kind, protocol, address)


def server_options(config: ServeConfig) -> list[tuple[str, int]]:
    """Return the options of the gRPC server."""
    limits = config.connections
    return [
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
        # If disabled, a call sends 64 KB until its message is read, then the rest; if enabled, up to 16 MB beforehand.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.max_allowed_incoming_connections", limits.max_connections),
        ("grpc.max_concurrent_streams", limits.streams_per_connection),
        ("grpc.max_metadata_size", limits.metadata_bytes),
        ("grpc.absolute_max_metadata_size", 2 * limits.metadata_bytes),
        ("grpc.server_handshake_timeout_ms", _ms(limits.handshake_seconds)),
        ("grpc.http2.settings_timeout", _ms(limits.handshake_seconds)),
        ("grpc.max_connection_idle_ms", _ms(limits.idle_connection_seconds)),
        ("grpc.keepalive_time_ms", _ms(limits.keepalive_seconds)),
        ("grpc.keepalive_timeout_ms", _ms(limits.keepalive_timeout_seconds)),
    ]


def close_connections(port: int) -> None:
    """End every connection to a port of this process.

    A caller sees UNAVAILABLE and may try elsewhere. If gRPC itself drops a call that arrives while it stops, the
    caller sees CANCELLED, as if it had cancelled the call itself.
    """
    for connection in _established():
        if connection.laddr.port == port:
            _shut_down(connection.fd)


def hang_up(peer: str) -> None:
    """End the connection of a peer, given in gRPC's form: `ipv4:127.0.0.1:5000` or `ipv6:%5B::1%5D:5000`."""
    host, _, port = unquote(peer).partition(":")[2].rpartition(":")
    for connection in _established():
        address = connection.raddr.ip.removeprefix(_IPV4_IN_IPV6)
        if str(connection.raddr.port) == port and address == host.strip("[]").partition("%")[0]:
            _shut_down(connection.fd)


def _established() -> Iterator[Any]:
    for connection in psutil.Process().net_connections("tcp"):
        if connection.status == psutil.CONN_ESTABLISHED and connection.fd >= 0:
            yield connection


def _shut_down(descriptor: int) -> None:
    """End a connection through a second handle of its socket; gRPC closes the first when it sees the end."""
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as handle:
        handle.shutdown(socket.SHUT_RDWR)


def authority(host: str, port: int) -> str:
    """Return host:port in gRPC's form; an IPv6 address is in brackets."""
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


def check_tls(security: SecurityConfig) -> None:
    """Confirm that the TLS files are usable; gRPC would accept a mismatched key and serve nobody.

    Raises:
        StartupError: one cannot be read, is not a PEM file, or they do not match.
    """
    paths = (security.tls_key, security.tls_cert, security.tls_client_ca)
    for path in paths:
        _pem(path)
    if security.tls_key is None or security.tls_cert is None:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # For a key with a password, it would wait for somebody to type it.
        context.load_cert_chain(security.tls_cert, security.tls_key, password="")
        if security.tls_client_ca is not None:
            context.load_verify_locations(security.tls_client_ca)
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
        which = ", ".join(str(path) for path in paths if path is not None)
        raise StartupError(f"the TLS files do not belong together or are damaged ({reason}): {which}") from error


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


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
