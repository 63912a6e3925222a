"""Reports: the tables of a run as text, CSV, Markdown, LaTeX, JSON, images and one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scoreguard.support.console import json_text
from scoreguard_client.report.badge import FILE as BADGE
from scoreguard_client.report.badge import badge
from scoreguard_client.report.build import FOLDER, Report, read_report, read_reports, write_tables, write_tables_of
from scoreguard_client.report.citations import FILE as CITATIONS
from scoreguard_client.report.citations import bibtex
from scoreguard_client.report.exhibits import exhibits
from scoreguard_client.report.figures import Figure, draw_exhibit, draw_gains, figures
from scoreguard_client.report.numbers import TableOptions
from scoreguard_client.report.page import write_page
from scoreguard_client.report.source import source_of
from scoreguard_client.report.table import Row, robustness_table
from scoreguard_client.report.tables import Table, tables_of
from scoreguard_client.report.writers import write_files

__all__ = [
    "Report",
    "Row",
    "Table",
    "TableOptions",
    "make_report",
    "make_reports",
    "read_report",
    "read_reports",
    "robustness_table",
    "tables_of",
    "write_reports",
]


def make_report(run: Path, options: TableOptions | None = None) -> Report:
    """Compute the tables of a run of one metric and write everything below `RUN/report`.

    Raises:
        RunError: the directory holds no readable run, or one without records, or one of several metrics.
    """
    report = read_report(run, options or TableOptions())
    write_reports([report], tables_of([report]), figures([report]))
    return report


def make_reports(run: Path, options: TableOptions | None = None) -> tuple[Report, ...]:
    """Compute the tables of each metric of a run and write everything below `RUN/report`.

    Each of several metrics has a folder there, and the tables of all stand beside these folders.

    Raises:
        RunError: the directory holds no readable run, or one without records.
    """
    reports = read_reports(run, options or TableOptions())
    write_reports(reports, tables_of(reports), figures(reports))
    return reports


def write_reports(reports: Sequence[Report], tables: Sequence[Table], found: Sequence[Figure]) -> None:
    """Write everything below `RUN/report` but the files of the figures.

    Args:
        reports: of each metric of one run.
        tables: what `tables_of` makes of them.
        found: what `figures` makes of them.
    """
    for report in reports:
        _write(report)
    whole = reports[0].run / FOLDER
    write_files(tables, source_of(reports), whole)
    (whole / CITATIONS).write_text(bibtex(reports), encoding="utf-8")
    (whole / BADGE).write_text(json_text(badge(tables)) + "\n", encoding="utf-8")
    if reports[0].folder != whole:
        write_tables_of(reports, whole)
    write_page(reports, tables, found, whole / "index.html")


def _write(report: Report) -> None:
    write_tables(report)
    chart = report.folder / "gains.png"
    draw_gains(report, chart)
    shown = exhibits(report)
    for old in report.folder.glob("attack-*.png"):
        old.unlink()
    for index, exhibit in enumerate(shown):
        draw_exhibit(exhibit, report.folder / f"attack-{index + 1}.png")
