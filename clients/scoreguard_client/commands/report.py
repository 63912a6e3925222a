"""`scoreguard report`: turn a campaign into robustness scores."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from scoreguard.support import console
from scoreguard_client.report import TableOptions, make_reports
from scoreguard_client.report.build import Report
from scoreguard_client.report.text import text_table
from scoreguard_client.scores.r_score import RMode
from scoreguard_client.scores.scaling import Scaling


@click.command(
    epilog="""\b
Example:
  scoreguard report runs/first
"""
)
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option(
    "--scaling",
    type=click.Choice([scaling.value for scaling in Scaling]),
    default=TableOptions.scaling.value,
    show_default=True,
    help="Scores mapped to 0 and 1: the declared range, that of the clean scores, a study's, or a calibration's.",
)
@click.option(
    "--calibration",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of scoreguard-export calibrate, for --scaling calibrated.",
)
@click.option(
    "--r-mode",
    type=click.Choice([mode.value for mode in RMode]),
    default=TableOptions.r_mode.value,
    show_default=True,
    help="R-score as in the paper, or as in the benchmark's code.",
)
@click.option(
    "--resamples",
    type=click.IntRange(min=1),
    default=TableOptions.resamples,
    show_default=True,
    help="Resamples of the bootstrap intervals.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the table as one JSON object.")
def command(run: Path, scaling: str, calibration: Path | None, r_mode: str, resamples: int, as_json: bool) -> int:
    """Print the robustness table of RUN and write RUN/report: CSV tables, images and a page."""
    options = TableOptions(scaling=Scaling(scaling), calibration=calibration, r_mode=RMode(r_mode), resamples=resamples)
    with Console(stderr=True).status("computing scores and intervals"):
        reports = make_reports(run, options)
    if as_json:
        tables = [report.to_json() for report in reports]
        click.echo(console.json_text(tables[0] if len(tables) == 1 else {"run": str(run), "metrics": tables}))
        return 0
    for report in reports:
        _print(report)
    return 0


def _print(report: Report) -> None:
    out = console.output()
    out.print(text_table(report, out.width if out.is_terminal else None))
    for caution in report.cautions:
        out.print(f"note: {caution}", highlight=False, markup=False, style="yellow")
    out.print(f"{report.folder / 'index.html'} has the intervals and the images", highlight=False, soft_wrap=True)
