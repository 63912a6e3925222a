"""Server addresses, checked before any call so that a typing error is reported as one."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from scoreguard_client._exceptions import ConfigurationError

EXAMPLE: Final = "localhost:50051"
LOCAL_SCHEME: Final = "local:"
"""Prefix of the path of a model store to run in this process."""
_WEB: Final = ("http://", "https://", "grpc://", "grpcs://")
_SCHEMES: Final = ("dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "vsock:", "xds:", "passthrough:", "google-c2p:")
"""What gRPC resolves by itself."""
_HOST_PORT: Final = re.compile(r"^(?P<host>\[[^\[\]]+\]|[^\[\]:/\s]+):(?P<port>\d+)$")
_PROXIES: Final = ("grpc_proxy", "https_proxy", "http_proxy")
"""Where gRPC looks for a proxy, in its order."""
_NO_PROXIES: Final = ("no_grpc_proxy", "no_proxy")


def local_store(target: str) -> Path | None:
    """Return the model store that a target names; None if it names a server."""
    scheme, colon, path = target.strip().partition(":")
    # A host may also be called local.
    return Path(path).expanduser() if scheme + colon == LOCAL_SCHEME and path and not path.isdecimal() else None


def check_target(target: str) -> None:
    """Confirm that a target is host:port, one of gRPC's own forms, or local:PATH.

    Raises:
        ConfigurationError: it is not; the message gives the right form if it can be guessed.
    """
    text = target.strip()
    if not text:
        raise ConfigurationError(f"name the server as host:port, for example {EXAMPLE}")
    if text.lower().startswith(_WEB):
        bare = text.split("://", 1)[1].partition("/")[0]
        raise ConfigurationError(f"{text!r} is a web address: write {bare!r}; --tls (or TLSConfig) turns TLS on")
    if text.lower().startswith(_SCHEMES):
        return
    if text == LOCAL_SCHEME:
        raise ConfigurationError("name the folder of the archives, for example local:model_store")
    if local_store(text) is not None:
        return
    match = _HOST_PORT.match(text)
    if match is None:
        raise ConfigurationError(f"{text!r} is not host:port: {_advice(text)}")
    if not 1 <= int(match["port"]) <= 65535:
        raise ConfigurationError(f"{text!r}: a port is a number from 1 to 65535")


def is_loopback(target: str) -> bool:
    """Whether a target is on this machine, where no proxy can be in between."""
    text = target.strip().lower()
    if text.startswith(("unix:", "unix-abstract:")):
        return True
    for scheme in ("dns:///", "dns:", "ipv4:", "ipv6:"):
        text = text.removeprefix(scheme)
    match = _HOST_PORT.match(text)
    host = (match["host"] if match else text).strip("[]")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def proxy_of(target: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the proxy that gRPC uses for a target, as `VARIABLE (host:port)`; empty if it uses none."""
    if is_loopback(target):
        return ""
    host = target.rpartition(":")[0].strip("[]")
    excluded = next((environment[name] for name in _NO_PROXIES if environment.get(name)), "")
    if any(
        host == name or host.endswith(f".{name.lstrip('.')}") for name in excluded.replace(" ", "").split(",") if name
    ):
        return ""
    for name in _PROXIES:
        if environment.get(name):
            # Never the whole value: it may hold a password.
            parts = urllib.parse.urlsplit(environment[name])
            return f"{name} ({parts.hostname}:{parts.port})" if parts.hostname else name
    return ""


def listens(target: str, timeout: float = 0.5) -> bool:
    """Whether anything on this machine accepts connections at a target; False for other machines."""
    match = _HOST_PORT.match(target.strip())
    if match is None or not is_loopback(target):
        return False
    try:
        # Every address of the name is tried, 127.0.0.1 and ::1.
        with socket.create_connection((match["host"].strip("[]"), int(match["port"])), timeout):
            return True
    except OSError:
        return False


def _advice(text: str) -> str:
    if "/" in text:
        return f"write {text.partition('/')[0]!r}"
    if text.count(":") > 1:
        return f"an IPv6 address goes in brackets, for example [{text}]:50051 or [::1]:50051"
    if ":" not in text:
        return f"name the port too, for example {text}:50051"
    return f"for example {EXAMPLE}"
