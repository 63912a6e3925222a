"""Check what is exposed to a network: tokens only with encryption, gradients only to authenticated callers."""

from __future__ import annotations

import ipaddress
import logging
import socket

from scoreguard_handlers.config import ServeConfig
from scoreguard_handlers.errors import StartupError

logger = logging.getLogger(__name__)


def check_exposure(config: ServeConfig) -> None:
    """Refuse a configuration that exposes too much to a network; warn if anybody may score.

    Raises:
        StartupError: tokens would be sent in clear text, or anybody could request gradients, or the host is unknown.
    """
    if is_loopback(config.host):
        return
    security = config.security
    is_closed = security.tokens_file is not None or security.tls_client_ca is not None
    if security.tokens_file is not None and security.tls_key is None and not security.insecure_tokens:
        raise StartupError(
            f"tokens would travel unencrypted to {config.host}: give --tls-key and --tls-cert, or --insecure-tokens "
            "where a proxy encrypts"
        )
    if config.gradients and not is_closed:
        raise StartupError(
            f"--gradients on {config.host} would be open to everybody: give --tokens-file or --tls-client-ca"
        )
    if not is_closed:
        logger.warning(f"anybody who reaches {config.host} may score: give --tokens-file or --tls-client-ca")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address.

    Raises:
        StartupError: the host is unknown.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        why = error.strerror if isinstance(error, socket.gaierror) else "not a host name"
        raise StartupError(f"cannot listen on {host!r}: {why}") from error
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)
