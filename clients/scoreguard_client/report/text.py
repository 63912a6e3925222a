"""The robustness table for a terminal."""

from __future__ import annotations

import math
from typing import Final

from rich.markup import escape
from rich.table import Table

from scoreguard_client.report.build import Report
from scoreguard_client.report.columns import COLUMNS, Column
from scoreguard_client.report.table import Row
from scoreguard_client.scores.estimates import Estimate

MISSING: Final = "–"
_WITH_INTERVAL: Final = "absolute_gain"
_NARROW: Final = ("clean_mean", "attacked_mean", "absolute_gain", "r_score")
_WIDE: Final = 140


def text_table(report: Report, width: int | None = None) -> Table:
    """The columns that fit, and of the intervals the absolute gain's; everything is in the page and in the CSV.

    Args:
        report: the table.
        width: characters of a line; None where lines may be as long as they need to be, as in a file.
    """
    wide = width is None or width >= _WIDE
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
        cells = (_cell(report, row, column, with_interval=wide) for column in columns)
        table.add_row(name, report.label(row.chain), *cells, str(row.images))
    return table


def number(value: float, decimals: int) -> str:
    """A number for people; a dash where there is none."""
    if not math.isfinite(value):
        return "∞" if value > 0 else MISSING
    # Adding 0 turns the -0.0 of a small negative number into 0.
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def value(estimate: Estimate, decimals: int) -> str:
    """The number of an estimate for people; `undefined` or a dash where there is none."""
    return number(estimate.value, decimals) if math.isfinite(estimate.value) else estimate.note or MISSING


def interval(estimate: Estimate, decimals: int) -> str:
    """The interval for people, or why there is none; empty where there is no number."""
    if not math.isfinite(estimate.value):
        return ""
    if not math.isfinite(estimate.low):
        return estimate.note
    return f"[{number(estimate.low, decimals)}, {number(estimate.high, decimals)}]"


def _cell(report: Report, row: Row, column: Column, *, with_interval: bool) -> str:
    estimate = row.scores.get(column.key)
    if estimate is None:
        return MISSING
    decimals = report.decimals(column)
    text = value(estimate, decimals)
    # Brackets of an interval look like rich's markup.
    span = escape(interval(estimate, decimals)) if with_interval and column.key == _WITH_INTERVAL else ""
    return f"{text} {span}".rstrip()
