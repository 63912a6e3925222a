"""The robustness table for a terminal."""

from __future__ import annotations

from typing import Final

from rich.table import Table

from scoreguard_client.report.build import Report
from scoreguard_client.report.columns import COLUMNS, Column
from scoreguard_client.report.table import Row
from scoreguard_client.scores.bootstrap import Estimate

MISSING: Final = "–"
_WITH_INTERVAL: Final = "absolute_gain"
_NARROW: Final = ("clean_mean", "attacked_mean", "absolute_gain", "r_score")
_WIDE: Final = 140


def text_table(report: Report, width: int) -> Table:
    """The columns that fit, and of the intervals the absolute gain's; everything is in the page and in the CSV.

    Args:
        report: the table.
        width: characters of a line.
    """
    wide = width >= _WIDE
    columns = [column for column in COLUMNS if (column.brief if wide else column.key in _NARROW)]
    table = Table(title=f"{report.metric_title}: robustness", header_style="bold")
    table.add_column("attack", no_wrap=True)
    table.add_column("defence", overflow="fold")
    for column in columns:
        table.add_column(column.label, justify="right", no_wrap=True)
    table.add_column("n", justify="right")
    for place, row in enumerate(report.rows):
        if place and row.attack != report.rows[place - 1].attack:
            table.add_section()
        name = report.attack_name(row.attack) + (" adaptive" if row.adaptive else "")
        cells = (_cell(row, column, with_interval=wide) for column in columns)
        table.add_row(name, report.label(row.chain), *cells, str(row.images))
    return table


def number(value: float, decimals: int) -> str:
    """A number for people; a dash where there is none."""
    if not abs(value) < float("inf"):
        return "∞" if value > 0 else MISSING
    # Adding 0 turns the -0.0 of a small negative number into 0.
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def interval(estimate: Estimate, decimals: int) -> str:
    """The interval for people; empty where there is none."""
    if not abs(estimate.low) < float("inf"):
        return ""
    return f"[{number(estimate.low, decimals)}, {number(estimate.high, decimals)}]"


def _cell(row: Row, column: Column, *, with_interval: bool) -> str:
    estimate = row.scores.get(column.key)
    if estimate is None:
        return MISSING
    value = number(estimate.value, column.decimals)
    return f"{value} {interval(estimate, 2)}".rstrip() if with_interval and column.key == _WITH_INTERVAL else value
