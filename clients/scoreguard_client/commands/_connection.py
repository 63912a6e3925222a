"""The connection options of every command."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from scoreguard_client._base import DEFAULT_TARGET
from scoreguard_client._client import ScoringClient
from scoreguard_client._config import DEFAULT_CONFIG, MIB, ConnectionConfig, TLSConfig
from scoreguard_client._exceptions import ConfigurationError

_TOKEN_VARIABLE: Final = "SCOREGUARD_TOKEN"
_FILE: Final = click.Path(dir_okay=False, path_type=Path)
METRIC_HELP: Final = "Deployed metric; optional if only one is deployed. See `scoreguard catalogue`."
_OPTIONS: Final = (
    click.option(
        "--target",
        default=DEFAULT_TARGET,
        envvar="SCOREGUARD_TARGET",
        show_default=True,
        help="host:port of the server, or local:STORE to run a model store in this process (or SCOREGUARD_TARGET).",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=DEFAULT_CONFIG.timeout_seconds,
        show_default=True,
        help="Deadline of a call in seconds.",
    ),
    click.option(
        "--max-message-mib",
        type=click.IntRange(min=1, max=2047),
        default=DEFAULT_CONFIG.max_message_bytes // MIB,
        show_default=True,
        help="Largest request and answer in MiB; the server also has a limit.",
    ),
    # No option takes the token itself: other users of the machine can read command lines.
    click.option("--token-file", type=_FILE, help="File with the bearer token; by default SCOREGUARD_TOKEN is used."),
    click.option("--tls/--no-tls", help="Use TLS, with the system's authorities unless --tls-ca is given."),
    click.option("--tls-ca", type=_FILE, help="PEM file with the authorities to trust; implies --tls."),
    click.option("--tls-cert", type=_FILE, help="PEM certificate of this client, for mutual TLS; implies --tls."),
    click.option("--tls-key", type=_FILE, help="PEM key of this client, for mutual TLS."),
)


def connection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the function gets `target` and `config` (a `ConnectionConfig`) instead of them."""

    @functools.wraps(function)
    def with_config(*args: Any, timeout: float, max_message_mib: int, **rest: Any) -> Any:
        names = ("token_file", "tls", "tls_ca", "tls_cert", "tls_key")
        security = {name: rest.pop(name) for name in names}
        return function(*args, config=_config(timeout, max_message_mib, **security), **rest)

    for option in reversed(_OPTIONS):
        with_config = option(with_config)
    return with_config


def chosen_metric(client: ScoringClient, name: str) -> str:
    """Return the metric of that name; empty = the only deployed one.

    Raises:
        NotFoundError: no name was given, and there are several metrics.
    """
    return name or client.list_metrics().metric().name


def _config(
    timeout: float,
    max_message_mib: int,
    *,
    token_file: Path | None,
    tls: bool,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
) -> ConnectionConfig:
    wanted = tls or any(path is not None for path in (tls_ca, tls_cert, tls_key))
    secret = os.environ.get(_TOKEN_VARIABLE, "") if token_file is None else _read(token_file).decode("utf-8", "replace")
    secure = TLSConfig(
        root_certificates=_read_if(tls_ca), private_key=_read_if(tls_key), certificate_chain=_read_if(tls_cert)
    )
    return ConnectionConfig(
        timeout_seconds=timeout,
        max_message_bytes=max_message_mib * MIB,
        token=secret.strip(),
        tls=secure if wanted else None,
    )


def _read_if(path: Path | None) -> bytes | None:
    return None if path is None else _read(path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror or error}") from error
