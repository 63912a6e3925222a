"""Reports: the robustness table of a run as text, CSV, images and one HTML page."""

from __future__ import annotations

from pathlib import Path

from scoreguard_client.report.build import FOLDER, Report, read_report, read_reports, write_tables, write_tables_of
from scoreguard_client.report.exhibits import exhibits
from scoreguard_client.report.figures import draw_exhibit, draw_gains
from scoreguard_client.report.numbers import TableOptions
from scoreguard_client.report.page import write_page
from scoreguard_client.report.table import Row, robustness_table
from scoreguard_client.report.tables import tables_of

__all__ = [
    "Report",
    "Row",
    "TableOptions",
    "make_report",
    "make_reports",
    "read_report",
    "read_reports",
    "robustness_table",
]


def make_report(run: Path, options: TableOptions | None = None) -> Report:
    """Compute the table of a run of one metric and write everything below `RUN/report`.

    Raises:
        RunError: the directory holds no readable run, or one without records, or one of several metrics.
    """
    report = read_report(run, options or TableOptions())
    _write(report)
    write_page([report], tables_of([report]), run / FOLDER / "index.html")
    return report


def make_reports(run: Path, options: TableOptions | None = None) -> tuple[Report, ...]:
    """Compute the table of each metric of a run and write everything below `RUN/report`.

    Each of several metrics has a folder there, and the tables of all stand beside these folders.

    Raises:
        RunError: the directory holds no readable run, or one without records.
    """
    reports = read_reports(run, options or TableOptions())
    for report in reports:
        _write(report)
    if reports[0].folder != run / FOLDER:
        write_tables_of(reports, run / FOLDER)
    write_page(reports, tables_of(reports), run / FOLDER / "index.html")
    return reports


def _write(report: Report) -> None:
    write_tables(report)
    chart = report.folder / "gains.png"
    draw_gains(report, chart)
    shown = exhibits(report)
    for old in report.folder.glob("attack-*.png"):
        old.unlink()
    for index, exhibit in enumerate(shown):
        draw_exhibit(exhibit, report.folder / f"attack-{index + 1}.png")
