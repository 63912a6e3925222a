"""`scoreguard catalogue`: list what a server has deployed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import click

from scoreguard.support import console
from scoreguard.v1.spec import shown_value
from scoreguard_client._client import ScoringClient
from scoreguard_client._config import ConnectionConfig
from scoreguard_client._models import Catalogue, DefenceDescription, MetricDescription, ParameterDescription
from scoreguard_client.commands._connection import connection_options


@click.command(
    epilog="""\b
Example:
  scoreguard catalogue --target localhost:50051
"""
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@connection_options
def command(as_json: bool, target: str, config: ConnectionConfig) -> None:
    """List the metrics of a server (range, direction) and their defences (parameters, defaults, ranges)."""
    with ScoringClient(target, config) as client:
        catalogue = client.list_metrics()
    if as_json:
        click.echo(console.json_text(dataclasses.asdict(catalogue)))
        return
    for line in describe(catalogue):
        click.echo(line)


def describe(catalogue: Catalogue) -> Iterator[str]:
    """Yield the lines of the listing."""
    gradients = "serves gradients" if catalogue.gradients else "no gradients"
    yield f"scoreguard {catalogue.server_version}, {gradients}"
    for metric in catalogue.metrics:
        yield ""
        yield from _describe_metric(metric)


def _describe_metric(metric: MetricDescription) -> Iterator[str]:
    low, high = metric.score_range
    direction = "higher" if metric.higher_is_better else "lower"
    yield f"{metric.name}: {metric.title}, {metric.year}"
    yield f"  scores {low:g} to {high:g}, {direction} is better; images from {metric.minimum_size} px"
    for defence in metric.defences:
        yield from _describe_defence(defence)


def _describe_defence(defence: DefenceDescription) -> Iterator[str]:
    yield f"  {defence.name}: {defence.title}{', random' if defence.random else ''}"
    for parameter in defence.parameters:
        yield f"    {parameter.name}={shown_value(parameter.usual)}  {_allowed(parameter)}  {parameter.description}"


def _allowed(parameter: ParameterDescription) -> str:
    side = ", at most the image's shorter side" if parameter.at_most_side else ""
    if parameter.values:
        return f"{parameter}{side}"
    return f"{parameter.minimum:g} to {parameter.maximum:g}{', whole' if parameter.integer else ''}{side}"
