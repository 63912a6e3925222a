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
    device: str = "cpu",
    engine: str = "auto",
    graph_batch: int = 0,
) -> ScoringClient:
    """Create a client whose model store runs in this process: a server's scores and errors, without a server.

    The store opens on first use, which takes seconds: every archive is verified and its golden vectors scored. A copy,
    a client unpickled in another process, and a forked child each open their own service. Closing the client frees
    the memory and ends the threads.

    Example:
        with scoreguard_client.local("model_store") as client:
            print(client.score("photo.png", metric="lite", defences="jpeg:quality=50").score)

    Args:
        model_store: folder of the archives, written by `scoreguard-export build`.
        config: time limits and retries; the token and message sizes are not used.
        workers: threads per metric that score concurrently; None = the cores of this process, or one for each GPU.
        threads: threads of one graph run.
        max_pixels: largest image, in pixels; a larger one is refused before it is decoded.
        gradients: whether gradients are served; None = if torch is installed.
        memory_mib: memory that concurrent large images may take in all, in MiB; 0 = most of the machine's.
        device: device of the graphs: auto, cpu, cuda (every GPU) or cuda:N.
        engine: what runs them: onnx, torchscript, or auto: ONNX Runtime where it can use the device.
        graph_batch: images that run as one batch; 0 = 1 on the CPU, 16 on other devices.

    Raises:
        ConfigurationError: a number is out of range; or, on the first call, the model store cannot be served.
        MissingExtraError: on the first call, the server's part is not installed.
    """
    settings = _settings(model_store, workers, threads, max_pixels, gradients, memory_mib, device, engine, graph_batch)
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
    device: str = "cpu",
    engine: str = "auto",
    graph_batch: int = 0,
) -> AsyncScoringClient:
    """Create an asyncio client as `local` does."""
    settings = _settings(model_store, workers, threads, max_pixels, gradients, memory_mib, device, engine, graph_batch)
    return AsyncScoringClient(config=config, transport=AsyncLocalTransport(settings))


def _settings(
    model_store: str | os.PathLike[str],
    workers: int | None,
    threads: int,
    max_pixels: int,
    gradients: bool | None,
    memory_mib: int,
    device: str,
    engine: str,
    graph_batch: int,
) -> LocalSettings:
    try:
        return LocalSettings(
            model_store=Path(model_store).expanduser(),
            workers=workers,
            threads=threads,
            max_pixels=max_pixels,
            gradients=gradients,
            memory_mib=memory_mib,
            device=device,
            engine=engine,
            graph_batch=graph_batch,
        )
    except CannotServeError as error:
        raise ConfigurationError(str(error)) from error
