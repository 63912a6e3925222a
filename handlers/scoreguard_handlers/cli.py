"""`scoreguard-serve`: run the service."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scoreguard.chain.devices import DEVICE_HELP
from scoreguard.support import console
from scoreguard.v1.errors import ContractError
from scoreguard_handlers.backends.base import THREAD_NAME
from scoreguard_handlers.config import MIB, ServeConfig
from scoreguard_handlers.config_file import Values, build, read_file
from scoreguard_handlers.config_text import config_text
from scoreguard_handlers.environment import PREFIX, read_environment
from scoreguard_handlers.errors import ServingError, StartupError
from scoreguard_handlers.gateway.allocator import return_memory_early
from scoreguard_handlers.logs import logging_to_stderr
from scoreguard_handlers.options import ServeCommand, further_options, given, option
from scoreguard_handlers.platform_check import check_platform

if TYPE_CHECKING:
    from scoreguard_handlers.gateway.service import RunningGateway

EPILOG = "Example: scoreguard-serve --model-store model_store --workers 2 --metrics-port 9090"


@click.command(cls=ServeCommand, epilog=EPILOG)
@click.option(
    "--config", "config_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), envvar=f"{PREFIX}CONFIG",
    help="TOML or YAML file with any field of the configuration; environment variables and options override it.",
)  # fmt: skip
@option("--model-store", "model_store", "Folder of the .mar archives.")
@option("--backend", "backend", "Backend that runs the chains.")
@option("--host", "host", "Address to listen on.")
@option("--port", "port", "Port to listen on; 0 = a free one.")
@option("--workers", "workers", "Workers of each metric.")
@option("--threads", "threads", "Threads of one graph run.")
@option("--device", "device", f"{DEVICE_HELP} cuda = every GPU.")
@option("--engine", "engine", "What runs the graphs; auto = ONNX Runtime where it can use the device, else torch.")
@option("--precision", "precision", "fp16 = mixed half precision, for archives that declare it.")
@option("--graph-batch", "graph_batch", "Images that run as one batch; 0 = 1 on the CPU, 16 on other devices.")
@option("--linger", "admission.linger_seconds", "Seconds that a free worker waits for a batch to fill, under load.")
@option("--queue", "admission.queue_limit", "Requests that may wait for one metric.")
@option("--max-batch", "admission.max_batch", "Maximum number of requests in one call to TorchServe.")
@option("--memory-mib", "admission.memory_mib", "MiB for large images at the same time; 0 = what the machine has.")
@option("--deadline", "admission.default_deadline_seconds", "Default deadline in seconds for calls that set none.")
@option("--max-deadline", "admission.max_deadline_seconds", "Longest time for a call, in seconds.")
@option("--max-message-mib", "max_message_bytes", "Largest request, in MiB.", scale=MIB)
@option("--max-pixels", "max_pixels", "Largest image, in pixels.")
@option("--gradients", "gradients", "Serve GradientService: white-box access, for research only.")
@option("--reflection/--no-reflection", "reflection", "Let tools such as grpcurl list the services.  [default: on]")
@option("--metrics-port", "metrics_port", "Serve a Prometheus page on this port.")
@option("--tokens-file", "security.tokens_file", "File of accepted bearer tokens, one per line.")
@option("--insecure-tokens", "security.insecure_tokens", "Accept tokens without TLS on a network.")
@option("--tls-key", "security.tls_key", "PEM private key; turns TLS on.")
@option("--tls-cert", "security.tls_cert", "PEM certificate chain.")
@option("--tls-client-ca", "security.tls_client_ca", "PEM authority of the clients; turns mTLS on.")
@option("--drain-delay", "drain_seconds", "On stop, seconds to keep serving after health says NOT_SERVING.")
@option("--grace", "grace_seconds", "On stop, seconds for calls under way to finish.")
@option("--torchserve-log-dir", "torchserve.log_dir", "Keep TorchServe's logs here.")
@option("--log-format", "log.format", "Format of the log on standard error.")
@option("--verbose", "log.verbose", "Log the start, each call and each reload, not only warnings.")
@click.option(
    "--show-config", is_flag=True, help="Print the configuration as TOML, with the origin of each value, and exit."
)
@click.option("--json", "as_json", is_flag=True, help="Print the ready line as JSON.")
@console.version_option("scoreguard-serve")
@click.pass_context
def command(context: click.Context, /, **options: Any) -> int:
    """Score images behind purification defences over gRPC, until SIGTERM or Ctrl-C."""
    layers = layers_of(context)
    config = build(*layers.values())
    if options["show_config"]:
        click.echo(config_text(config, layers), nl=False)
        return 0
    with logging_to_stderr(config.log):
        return asyncio.run(run_until_stopped(config, as_json=options["as_json"]))


command.params[-3:-3] = further_options(command)


def config_from(context: click.Context) -> ServeConfig:
    """Return the configuration from file, environment and options; raises the same errors as `layers_of`."""
    return build(*layers_of(context).values())


def layers_of(context: click.Context) -> dict[str, Values]:
    """Return the values that set fields, by their source; a later source wins.

    Raises:
        StartupError: the file or a variable has an invalid value, or the file has an unknown key.
    """
    path: Path | None = context.params["config_file"]
    return {
        "file": read_file(path) if path is not None else {},
        "environment": read_environment(),
        "option": given(context),
    }


async def run_until_stopped(config: ServeConfig, *, as_json: bool) -> int:
    """Serve until a signal arrives or the backend fails.

    Raises:
        StartupError: the service does not start, or its backend ended on its own.
    """
    check_platform()
    if config.backend == "torchserve":
        return_memory_early()
    try:
        from scoreguard_handlers.gateway.service import serve
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
    """Return the text to print once the service can score."""
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
    code = console.run(command, errors=(StartupError, ContractError, ServingError), argv=argv)
    if argv is None and any(thread.name.startswith(THREAD_NAME) for thread in threading.enumerate()):
        # A graph whose caller has gone runs on until its deadline; it must not keep the process alive.
        sys.stdout.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
