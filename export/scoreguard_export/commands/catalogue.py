"""`scoreguard-export catalogue`: every metric and defence that can be built."""

from __future__ import annotations

import json
from typing import Any

import click
from google.protobuf import json_format
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table

from scoreguard_export.defences.base import DefenceFacts, Parameter
from scoreguard_export.defences.catalogue import CATALOGUE as DEFENCES
from scoreguard_export.facts import defence_message, metric_message
from scoreguard_export.metrics.base import MetricFacts
from scoreguard_export.metrics.catalogue import CATALOGUE as METRICS


@click.command(epilog="Example: scoreguard-export catalogue --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """List every metric and defence with its facts."""
    metrics = [entry.facts for entry in METRICS.values()]
    defences = [defence.facts for defence in DEFENCES.values()]
    if as_json:
        click.echo(json.dumps(_content(metrics, defences), indent=2))
        return
    console = Console()
    console.print(_metric_table(metrics))
    console.print(_defence_table(defences))


def _content(metrics: list[MetricFacts], defences: list[DefenceFacts]) -> dict[str, Any]:
    return {
        "metrics": [_plain(metric_message(facts)) for facts in metrics],
        "defences": [_plain(defence_message(facts)) for facts in defences],
    }


def _plain(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def _metric_table(metrics: list[MetricFacts]) -> Table:
    table = Table("metric", "method (year)", "range", "better", "reads", "weights", title="Metrics")
    for facts in metrics:
        low, high = facts.score_range.low, facts.score_range.high
        table.add_row(
            facts.name,
            f"{facts.title} ({facts.year})",
            f"{low:g} to {high:g}",
            "higher" if facts.higher_is_better else "lower",
            facts.input_rule,
            "shipped" if facts.weights.shipped else f"by --weights; {facts.weights.licence}",
        )
    return table


def _defence_table(defences: list[DefenceFacts]) -> Table:
    table = Table("defence", "method (year)", "parameters", "random", "gradient", "keeps size", title="Defences")
    for facts in defences:
        table.add_row(
            facts.name,
            f"{facts.title} ({facts.year})",
            "\n".join(_parameter(parameter) for parameter in facts.parameters) or "–",
            ", ".join(spec.name for spec in facts.random_inputs) or "no",
            str(facts.differentiability),
            "yes" if facts.size_preserving else "no",
        )
    return table


def _parameter(parameter: Parameter) -> str:
    choices = ", ".join(f"{choice:g}" for choice in parameter.choices)
    allowed = choices or f"{parameter.minimum:g} to {parameter.maximum:g}"
    return f"{parameter.name} = {parameter.default:g} ({allowed})"
