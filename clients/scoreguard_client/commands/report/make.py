"""`scoreguard report RUN`: turn a campaign, or tables made elsewhere, into robustness scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from scoreguard.support import console
from scoreguard_client.commands._tables import csv_options
from scoreguard_client.report import TableOptions, tables_of, write_reports
from scoreguard_client.report.build import FOLDER, Report, read_reports
from scoreguard_client.report.citations import bibtex
from scoreguard_client.report.conclusions import sentences
from scoreguard_client.report.csv_selection import CsvOptions
from scoreguard_client.report.csv_table import CsvReport, read_csv_report, write_csv_table
from scoreguard_client.report.figures import FIGURES, figures, write_figures
from scoreguard_client.report.gates import failures, parse_gate
from scoreguard_client.report.tables.leaderboard import LEADERBOARD
from scoreguard_client.report.tables.model import Table
from scoreguard_client.report.text import text_table
from scoreguard_client.report.writers import terminal_table
from scoreguard_client.scores.r_score import RMode
from scoreguard_client.scores.scaling import Scaling


@click.command(
    epilog="""\b
Examples:
  scoreguard report runs/first
  scoreguard report runs/first --fail-if 'worst_gain[jpeg]>0.2'
  scoreguard report --from-csv fgsm.csv --metric maniqa --range 0,1
"""
)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN | --from-csv FILE...")
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
@click.option(
    "--domain-transform",
    metavar="FILE",
    help="Map scores onto a reference metric first: FILE of scoreguard domain fit, or as-benchmark:FILE.",
)
@click.option("--cite", is_flag=True, help="Print BibTeX of every metric, attack and defence of the run.")
@click.option(
    "--fail-if",
    "conditions",
    multiple=True,
    metavar="CONDITION",
    help="Exit with 1 if a number of the leaderboard is so, as 'worst_gain>0.2'; repeatable.",
)
@csv_options
@click.option("--json", "as_json", is_flag=True, help="Print the table as one JSON object.")
def command(
    paths: Sequence[Path],
    scaling: str,
    calibration: Path | None,
    r_mode: str,
    resamples: int,
    domain_transform: str | None,
    cite: bool,
    conditions: Sequence[str],
    csv: CsvOptions | None,
    out: Path | None,
    as_json: bool,
) -> int:
    """Print the leaderboard and the robustness table of RUN and write RUN/report: tables, figures and a page."""
    options = TableOptions(
        scaling=Scaling(scaling),
        calibration=calibration,
        r_mode=RMode(r_mode),
        resamples=resamples,
        domain_transform=domain_transform,
    )
    if csv is None and len(paths) > 1:
        raise click.UsageError("report on one RUN, or on tables with --from-csv")
    if csv is not None and (cite or conditions):
        raise click.UsageError(f"{'--cite' if cite else '--fail-if'} goes with a RUN, not with --from-csv")
    if cite and as_json:
        raise click.UsageError("--cite prints BibTeX and --json prints JSON: give one of them")
    gates = [parse_gate(text) for text in conditions]
    reports: Sequence[Report | CsvReport]
    failed: list[str] = []
    citations = ""
    tables: tuple[Table, ...] = ()
    with Console(stderr=True).status("computing scores and intervals"):
        if csv is None:
            reports = of_run = read_reports(paths[0], options)
            tables = tables_of(of_run)
            failed = failures(gates, tables)
            found = figures(of_run)
            write_reports(of_run, tables, found)
            write_figures(found, paths[0] / FOLDER / FIGURES)
            citations = bibtex(of_run) if cite else ""
        else:
            reports = [read_csv_report(paths, csv, options)]
    for report in reports:
        if isinstance(report, CsvReport) and out is not None:
            write_csv_table(report, out / "table.csv")
    if cite:
        click.echo(citations, nl=False)
    elif as_json:
        values = [report.to_json() for report in reports]
        click.echo(console.json_text(values[0] if len(values) == 1 else {"run": str(paths[0]), "metrics": values}))
    else:
        for table in tables:
            if table.key.startswith(LEADERBOARD):
                _print_board(table)
        for report in reports:
            _print(report)
        _conclude(reports)
    for line in failed:
        click.echo(f"failed: {line}", err=True)
    return int(bool(failed))


def _print_board(table: Table) -> None:
    shown = console.output()
    shown.print(terminal_table(table, shown.width if shown.is_terminal else None))
    shown.print(table.about, highlight=False, markup=False, soft_wrap=not shown.is_terminal)


def _print(report: Report | CsvReport) -> None:
    shown = console.output()
    shown.print(text_table(report, shown.width if shown.is_terminal else None))
    for caution in report.cautions:
        shown.print(f"note: {caution}", highlight=False, markup=False, style="yellow")
    if isinstance(report, CsvReport):
        shown.print(_scale(report), highlight=False, markup=False, soft_wrap=True)


def _conclude(reports: Sequence[Report | CsvReport]) -> None:
    """Print what a run says in plain words, and where the rest is."""
    shown, of_run = console.output(), [report for report in reports if isinstance(report, Report)]
    for report in of_run:
        shown.print(f"\n{report.metric_title}, in plain words", style="bold", highlight=False, markup=False)
        for sentence in sentences(report):
            shown.print(sentence, highlight=False, markup=False, soft_wrap=not shown.is_terminal)
    for run in dict.fromkeys(report.run for report in of_run):
        page = run / FOLDER / "index.html"
        shown.print(f"\n{page} has the intervals and the images", highlight=False, markup=False, soft_wrap=True)


def _scale(report: CsvReport) -> str:
    better = "higher" if report.scale.higher_is_better else "lower"
    ends = f"{report.bounds.low:g} to {report.bounds.high:g} ({report.bounds.source})"
    by = report.bounds.source if report.options.scaling is Scaling.CLEAN_SELECTION else ends
    return f"scaled by {by}; {better} is better"
