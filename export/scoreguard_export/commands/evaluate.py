"""`scoreguard-export evaluate`: compare a metric with human scores.

Imports are deferred until the command runs: `--help` needs none of them.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from scoreguard.chain.devices import CPU, DEVICE_HELP, find_device
from scoreguard.support import console
from scoreguard_export.commands.announce import announce

if TYPE_CHECKING:
    from scoreguard_export.training.evaluate_mos import AgreementRow


@click.command(epilog="Example: scoreguard-export evaluate lite --data data")
@click.argument("metric")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder that contains mos/.",
)
@click.option("--weights", type=click.Path(path_type=Path), help="Weights file; the shipped one by default.")
@click.option("--device", default=CPU, show_default=True, help=DEVICE_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(metric: str, data: Path, weights: Path | None, device: str, as_json: bool) -> None:
    """Print the rank correlation of METRIC with human ratings, by data set and distortion; 1 = full agreement."""
    from scoreguard_export.graph_module import NO_FILES
    from scoreguard_export.metrics.catalogue import load_metric
    from scoreguard_export.metrics.pyiqa.table import served
    from scoreguard_export.training.evaluate_mos import evaluate_on_human_scores

    chosen = find_device(device)
    announce(device, chosen)
    loaded = load_metric(metric, {served(metric): weights} if weights else NO_FILES)
    rows = evaluate_on_human_scores(loaded, data, device=chosen)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        console.output().print(_table(metric, rows))


def _table(metric: str, rows: list[AgreementRow]) -> Table:
    table = Table("data set", "group", "images", "SROCC", "PLCC", "pairs in order", title=f"{metric} and people")
    for row in rows:
        table.add_row(
            row.dataset, row.group, str(row.count), _number(row.srocc), _number(row.plcc), _number(row.concordance)
        )
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
