"""`scoreguard-export catalogue`: every metric and defence that can be built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from google.protobuf import json_format
from google.protobuf.message import Message
from rich.table import Table

from scoreguard.support.console import output, say_broken
from scoreguard_export.archive.facts import declares_half, exported_facts
from scoreguard_export.commands.defence_table import COLUMNS, cells, markdown
from scoreguard_export.commands.metric_table import metric_rows, metric_table
from scoreguard_export.commands.pyiqa_table import show_pyiqa
from scoreguard_export.defences.base import Defence
from scoreguard_export.defences.catalogue import CATALOGUE as DEFENCES
from scoreguard_export.metrics.catalogue import CATALOGUE as METRICS


@click.command(epilog="Example: scoreguard-export catalogue --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the table of defences in Markdown.")
@click.option("--pyiqa", "of_pyiqa", is_flag=True, help="List the no-reference metrics of pyiqa, and which export.")
@click.option("--model-store", type=click.Path(path_type=Path), help="Store whose graphs' parity errors to show.")
def command(as_json: bool, as_markdown: bool, of_pyiqa: bool, model_store: Path | None) -> None:
    """List every metric and defence with its facts.

    Each defence is exported as a TorchScript and an ONNX graph: ONNX Runtime scores, TorchScript gives gradients.
    """
    if of_pyiqa:
        show_pyiqa(as_json=as_json)
        return
    say_broken(METRICS, DEFENCES)
    metrics, defences = list(METRICS.values()), list(DEFENCES.values())
    if as_markdown:
        click.echo("\n".join(markdown(defences)))
        return
    rows = metric_rows(metrics, model_store)
    if as_json:
        content = {"metrics": [row.content() for row in rows], "defences": [_with_weights(d) for d in defences]}
        click.echo(json.dumps(content, indent=2))
        return
    console = output()
    console.print(metric_table(rows))
    console.print(_defence_table(defences))


def _with_weights(defence: type[Defence]) -> dict[str, Any]:
    facts = exported_facts(defence)
    facts.ClearField("diffusion")  # a thousand numbers of no use to a reader
    sources = defence.sources.items()
    weights = [
        {"name": name, "licence": s.licence, "commercial_use": s.commercial, "shipped": bool(s.shipped)}
        for name, s in sources
    ]
    sampled = bool(defence.schedule(defence.facts.variants()[0]))
    return {**_plain(facts), "sampled": sampled, "half_precision": declares_half(defence), "weights": weights}


def _plain(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def _defence_table(defences: list[type[Defence]]) -> Table:
    caption = "build --precision fp16 declares half precision for every metric, and for defences with weights"
    table = Table(*COLUMNS, title="Defences", caption=caption)
    for defence in defences:
        table.add_row(*cells(defence, "\n"))
    return table
