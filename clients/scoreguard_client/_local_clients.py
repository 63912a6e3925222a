"""Clients without a server: for notebooks, training loops, tests and the shards of a campaign."""

from __future__ import annotations

import os
from pathlib import Path

from scoreguard.images import MAX_PIXELS
from scoreguard.service import LocalSettings
from scoreguard.v1.errors import CannotServeError
from scoreguard_client._async_client import AsyncScoringClient
from scoreguard_client._client import ScoringClient
from scoreguard_client._config import DEFAULT_CONFIG, ConnectionConfig
from scoreguard_client._exceptions import ConfigurationError
from scoreguard_client._local import AsyncLocalTransport, LocalTransport


def local(
    model_store: str | os.PathLike[str],
    config: ConnectionConfig = DEFAULT_CONFIG,
    *,
    workers: int | None = None,
    threads: int = 1,
    max_pixels: int = MAX_PIXELS,
    gradients: bool | None = None,
    memory_mib: int = 0,
) -> ScoringClient:
    """A client whose model store runs in this process: the scores and the errors of a server, without one.

    It opens on first use, which takes seconds: every archive is verified and its golden vectors scored. A copy, a
    pickled one in another process, and a forked child open a service of their own. Closing it frees the memory and
    ends the threads.

    Example:
        with scoreguard_client.local("model_store") as client:
            print(client.score("photo.png", metric="lite", defences="jpeg:quality=50").score)

    Args:
        model_store: folder of the archives, as `scoreguard-export build` writes it.
        config: time limits and retries; a token and sizes of messages do not matter here.
        workers: threads of each metric that score at the same time; None = the cores that this process may use.
        threads: threads of one graph run.
        max_pixels: largest image, refused before it is decoded.
        gradients: whether gradients are given; None = where torch is installed.
        memory_mib: memory that large images may take at the same time, in MiB; 0 = most of the machine's.

    Raises:
        ConfigurationError: a number is out of its range; at the first call, the model store cannot be served.
        MissingExtraError: at the first call, the server's part is not installed.
    """
    settings = _settings(model_store, workers, threads, max_pixels, gradients, memory_mib)
    return ScoringClient(config=config, transport=LocalTransport(settings))


def async_local(
    model_store: str | os.PathLike[str],
    config: ConnectionConfig = DEFAULT_CONFIG,
    *,
    workers: int | None = None,
    threads: int = 1,
    max_pixels: int = MAX_PIXELS,
    gradients: bool | None = None,
    memory_mib: int = 0,
) -> AsyncScoringClient:
    """As `local`, for asyncio."""
    settings = _settings(model_store, workers, threads, max_pixels, gradients, memory_mib)
    return AsyncScoringClient(config=config, transport=AsyncLocalTransport(settings))


def _settings(
    model_store: str | os.PathLike[str],
    workers: int | None,
    threads: int,
    max_pixels: int,
    gradients: bool | None,
    memory_mib: int,
) -> LocalSettings:
    try:
        return LocalSettings(
            model_store=Path(model_store).expanduser(),
            workers=workers,
            threads=threads,
            max_pixels=max_pixels,
            gradients=gradients,
            memory_mib=memory_mib,
        )
    except CannotServeError as error:
        raise ConfigurationError(str(error)) from error
