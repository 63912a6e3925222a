"""Reports: the robustness table of a run as text, CSV, images and one HTML page."""

from __future__ import annotations

from pathlib import Path

from scoreguard_client.report.build import Report, read_report, write_tables
from scoreguard_client.report.exhibits import exhibits
from scoreguard_client.report.figures import draw_exhibit, draw_gains
from scoreguard_client.report.numbers import TableOptions
from scoreguard_client.report.page import write_page
from scoreguard_client.report.table import Row, robustness_table

__all__ = ["Report", "Row", "TableOptions", "make_report", "read_report", "robustness_table"]


def make_report(run: Path, options: TableOptions | None = None) -> Report:
    """Compute the table of a run and write everything below `RUN/report`.

    Raises:
        RunError: the directory holds no readable run, or one without records.
    """
    report = read_report(run, options or TableOptions())
    write_tables(report)
    chart = report.folder / "gains.png"
    draw_gains(report, chart)
    shown = exhibits(report)
    for old in report.folder.glob("attack-*.png"):
        old.unlink()
    for index, exhibit in enumerate(shown):
        draw_exhibit(exhibit, report.folder / f"attack-{index + 1}.png")
    write_page(report, shown, chart, report.folder / "index.html")
    return report
