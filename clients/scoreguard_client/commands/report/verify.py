"""`scoreguard report verify`: recompute a page from its records, and score its attacked images again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource
from rich.console import Console

from scoreguard.support import console
from scoreguard_client._client import ScoringClient
from scoreguard_client._config import ConnectionConfig
from scoreguard_client.commands._connection import connection_options
from scoreguard_client.report.proof.live import Rescored, rescored
from scoreguard_client.report.proof.verify import Verdict, verify_page

_IMAGES: Final = 3


@click.command(
    epilog="""\b
Examples:
  scoreguard report verify runs/first/report/index.html
  scoreguard report verify index.html --target localhost:9090 --images 2
"""
)
@click.argument("page", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--images",
    type=click.IntRange(min=1),
    help=f"Score this many of its attacked images on the server of --target; {_IMAGES} if that is given.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@connection_options
@click.pass_context
def command(
    ctx: click.Context, page: Path, images: int | None, as_json: bool, target: str, config: ConnectionConfig
) -> int:
    """Recompute every cell of PAGE from the records in it; exit code 1 if one shows something else."""
    with Console(stderr=True).status("recomputing the page"):
        verdict = verify_page(page)
    asked = images is not None or ctx.get_parameter_source("target") is ParameterSource.COMMANDLINE
    again: list[Rescored] = []
    if asked:
        with ScoringClient(target, config) as client, Console(stderr=True).status("scoring images"):
            again = list(rescored(verdict.shown.images, verdict.reports, client, images or _IMAGES))
    off = [score for score in again if not score.agrees]
    if as_json:
        click.echo(console.json_text(_facts(verdict, again)))
    else:
        for line in (*verdict.differences, *off):
            click.echo(str(line))
        click.echo(_summary(verdict, again))
    return 1 if verdict.differences or off else 0


def _summary(verdict: Verdict, again: list[Rescored]) -> str:
    equal = verdict.cells - len({difference.address for difference in verdict.differences})
    text = f"{equal:,} of {verdict.cells:,} cells are what {verdict.records:,} records give"
    if again:
        text += f"; {sum(score.agrees for score in again):,} of {len(again):,} scores are what the server gives"
    return text


def _facts(verdict: Verdict, again: list[Rescored]) -> dict[str, Any]:
    return {
        "cells": verdict.cells,
        "records": verdict.records,
        "differences": [
            {**difference.address._asdict(), "shown": difference.shown, "computed": difference.computed}
            for difference in verdict.differences
        ],
        "scores": [
            {
                "metric": score.metric,
                "image": score.image,
                "attack": score.attack,
                "chain": score.chain,
                "recorded": score.recorded,
                "live": score.live,
                "tolerance": score.tolerance,
                "agrees": score.agrees,
            }
            for score in again
        ],
    }
