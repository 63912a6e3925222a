"""`scoreguard bench`: throughput and latency of a server, every answer checked."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from scoreguard.images import image_files
from scoreguard.support import console
from scoreguard_client._async_client import AsyncScoringClient
from scoreguard_client._client import ScoringClient
from scoreguard_client._config import ConnectionConfig, RetryConfig
from scoreguard_client._images import ImageLike
from scoreguard_client.bench import LoadResult, run_load, synthetic_images
from scoreguard_client.commands._connection import METRIC_HELP, chosen_metric, connection_options

_LIMIT: Final = 16
_FAILED: Final = 1


@click.command(
    epilog="""\b
Example:
  scoreguard bench --metric lite --defence blur --callers 1,4,16 --seconds 8
"""
)
@click.option("--metric", default="", help=METRIC_HELP)
@click.option(
    "--chain", "--defence", "defences", multiple=True, metavar="CHAIN", help="Defence chain; repeat to append."
)
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help=f"Folder of images; the first {_LIMIT} in name order are sent unchanged.",
)
@click.option("--synthetic", default="512x384", show_default=True, help="WIDTHxHEIGHT of synthetic JPEG images.")
@click.option("--callers", default="1,4,16", show_default=True, help="Numbers of concurrent callers.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=8.0,
    show_default=True,
    help="Seconds for each number of callers.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@connection_options
def command(
    metric: str,
    defences: Sequence[str],
    images: Path | None,
    synthetic: str,
    callers: str,
    seconds: float,
    as_json: bool,
    target: str,
    config: ConnectionConfig,
) -> int:
    """Load a server with closed-loop callers and report requests per second, percentiles and errors.

    The exit code is 1 if any answer was wrong or missing.
    """
    counts = _counts(callers)
    loaded = _synthetic(synthetic) if images is None else _folder(images)
    with ScoringClient(target, config) as client:
        metric = chosen_metric(client, metric)
    results = asyncio.run(_measure(target, config, loaded, metric, defences, counts, seconds, as_json))
    return _FAILED if any(result.failures for result in results) else 0


async def _measure(
    target: str,
    config: ConnectionConfig,
    images: Sequence[ImageLike],
    metric: str,
    defences: Sequence[str],
    counts: Sequence[int],
    seconds: float,
    as_json: bool,
) -> list[LoadResult]:
    if not as_json:
        click.echo(f"{'callers':>7} {'req/s':>9} {'p50 ms':>9} {'p90 ms':>9} {'p99 ms':>9} {'errors':>7}")
    results = []
    # A retry would hide an error and count as a slow answer.
    unretried = dataclasses.replace(config, retry=RetryConfig(attempts=1))
    async with AsyncScoringClient(target, unretried) as client:
        for count in counts:
            if sys.stderr.isatty():
                click.echo(f"{count} callers for {seconds:g} s ...\r", err=True, nl=False)
            results.append(
                await run_load(client, images, metric=metric, defences=defences, callers=count, seconds=seconds)
            )
            click.echo(console.json_text(results[-1].summary()) if as_json else _line(results[-1]))
    return results


def _line(result: LoadResult) -> str:
    percentiles = " ".join(f"{result.percentile_ms(percent):9.1f}" for percent in (50, 90, 99))
    kinds = "  " + ", ".join(f"{kind}: {count}" for kind, count in result.errors) if result.errors else ""
    return f"{result.callers:7d} {result.requests_per_second:9.1f} {percentiles} {result.failures:7d}{kinds}"


def _counts(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise click.BadParameter(f"{text!r} is not a list like 1,4,16", param_hint="--callers")
    return [int(part) for part in parts]


def _synthetic(size: str) -> list[bytes]:
    width, cross, height = size.partition("x")
    if not (cross and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise click.BadParameter(f"{size!r} is not WIDTHxHEIGHT, for example 512x384", param_hint="--synthetic")
    return synthetic_images(int(width), int(height), _LIMIT)


def _folder(folder: Path) -> list[bytes]:
    paths = image_files(folder)[:_LIMIT]
    if not paths:
        raise click.BadParameter(f"{folder} holds no image", param_hint="--images")
    return [path.read_bytes() for path in paths]
