"""`scoreguard-serve`: run the service."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scoreguard import console
from scoreguard.v1.errors import IntegrityError
from scoreguard_handlers.allocator import return_memory_early
from scoreguard_handlers.backends.base import THREAD_NAME
from scoreguard_handlers.config import MIB, AdmissionConfig, SecurityConfig, ServeConfig, TorchServeConfig
from scoreguard_handlers.errors import ServingError, StartupError
from scoreguard_handlers.platform_check import check_platform

if TYPE_CHECKING:
    from scoreguard_handlers.gateway import RunningGateway

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
PORT = click.IntRange(0, 65535)
EPILOG = "Example: scoreguard-serve --model-store model_store --workers 2 --metrics-port 9090"


@click.command(epilog=EPILOG, context_settings={"show_default": True})
@click.option("--model-store", type=FOLDER, required=True, help="Folder of the .mar archives.")
@click.option("--backend", type=click.Choice(["torchserve", "local"]), default="torchserve", help="Where chains run.")
@click.option("--host", default="localhost", help="Address to listen on.")
@click.option("--port", type=PORT, default=50051, help="Port to listen on; 0 = a free one.")
@click.option("--workers", type=click.IntRange(1), default=None, help="Workers of each metric.  [default: the cores]")
@click.option("--threads", type=click.IntRange(1), default=1, help="Threads of one graph run.")
@click.option("--queue", type=click.IntRange(1), default=256, help="Requests that may wait for one metric.")
@click.option("--max-batch", type=click.IntRange(1), default=4, help="Most requests in one call to TorchServe.")
@click.option(
    "--deadline", type=click.FloatRange(0, min_open=True), default=60.0, help="Seconds, where a call sets none."
)
@click.option("--max-deadline", type=click.FloatRange(0, min_open=True), default=100.0, help="Longest time for a call.")
@click.option("--max-message-mib", type=click.IntRange(1, 1024), default=64, help="Largest request.")
@click.option("--max-pixels", type=click.IntRange(1), default=50_000_000, help="Largest picture.")
@click.option("--gradients", is_flag=True, help="Serve GradientService: white-box access, for research only.")
@click.option("--reflection/--no-reflection", default=True, help="Let tools such as grpcurl list the services.")
@click.option("--metrics-port", type=PORT, default=None, help="Serve a Prometheus page on this port.")
@click.option("--tokens-file", type=FILE, default=None, help="Accepted bearer tokens, one a line.")
@click.option("--tls-key", type=FILE, default=None, help="PEM private key; turns TLS on.")
@click.option("--tls-cert", type=FILE, default=None, help="PEM certificate chain.")
@click.option("--tls-client-ca", type=FILE, default=None, help="PEM authority of the clients; turns mTLS on.")
@click.option("--grace", type=click.FloatRange(0), default=10.0, help="Seconds for calls under way when stopping.")
@click.option(
    "--torchserve-log-dir", type=click.Path(file_okay=False, path_type=Path), help="Keep TorchServe's logs here."
)
@click.option("--json", "as_json", is_flag=True, help="Print the ready line as JSON.")
@click.option("--verbose", is_flag=True, help="Log more than warnings.")
def command(**options: Any) -> int:
    """Score pictures behind purification defences over gRPC, until SIGTERM or Ctrl-C."""
    logging.basicConfig(
        level=logging.INFO if options["verbose"] else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    return asyncio.run(run_until_stopped(config_from(options), as_json=options["as_json"]))


def config_from(options: dict[str, Any]) -> ServeConfig:
    """The configuration that the options describe."""
    workers = {} if options["workers"] is None else {"workers": options["workers"]}
    same = (
        "model_store",
        "backend",
        "host",
        "port",
        "threads",
        "max_pixels",
        "gradients",
        "reflection",
        "metrics_port",
    )
    return ServeConfig(
        **{name: options[name] for name in same},
        **workers,
        max_message_bytes=options["max_message_mib"] * MIB,
        grace_seconds=options["grace"],
        admission=AdmissionConfig(
            queue_limit=options["queue"],
            max_batch=options["max_batch"],
            default_deadline_seconds=options["deadline"],
            max_deadline_seconds=options["max_deadline"],
        ),
        security=SecurityConfig(
            **{name: options[name] for name in ("tokens_file", "tls_key", "tls_cert", "tls_client_ca")}
        ),
        torchserve=TorchServeConfig(log_dir=options["torchserve_log_dir"]),
    )


async def run_until_stopped(config: ServeConfig, *, as_json: bool) -> int:
    """Serve until a signal comes or the backend breaks down.

    Raises:
        StartupError: the service does not come up, or its backend ended on its own.
    """
    check_platform()
    if config.backend == "torchserve":
        return_memory_early()
    try:
        from scoreguard_handlers.gateway import serve
    except ModuleNotFoundError as error:
        raise StartupError(
            f"scoreguard-serve needs pip install 'scoreguard[serve]' (no module {error.name})"
        ) from error
    this, loop = asyncio.current_task(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: this and this.cancel())
    try:
        async with serve(config) as gateway:
            print(ready_line(gateway, as_json=as_json), flush=True)
            raise StartupError(await gateway.backend.failed())
    except asyncio.CancelledError:
        return 0


def ready_line(gateway: RunningGateway, *, as_json: bool) -> str:
    """What is printed once the service can score."""
    if as_json:
        return json.dumps(
            {
                "ready": True,
                "address": gateway.address,
                "backend": gateway.backend.name,
                "metrics": list(gateway.metrics),
                "metrics_port": gateway.metrics_port,
            }
        )
    names = ", ".join(gateway.metrics)
    return f"ready: ScoreDefended on {gateway.address} (backend {gateway.backend.name}, metrics: {names})"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `scoreguard-serve`."""
    code = console.run(command, errors=(StartupError, IntegrityError, ServingError), argv=argv)
    if argv is None and any(thread.name.startswith(THREAD_NAME) for thread in threading.enumerate()):
        # A graph that nobody waits for any more runs on until its deadline; it must not keep the process.
        sys.stdout.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
