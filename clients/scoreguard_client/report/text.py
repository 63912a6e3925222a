"""The robustness table for a terminal."""

from __future__ import annotations

import math
import re
import textwrap
from dataclasses import dataclass, replace
from typing import Final, Protocol

from rich.markup import escape
from rich.table import Table

from scoreguard.support.console import width_of
from scoreguard_client.report.columns import Column
from scoreguard_client.report.table import Row
from scoreguard_client.scores.estimates import Estimate

MISSING: Final = "–"
_WITH_INTERVAL: Final = "absolute_gain"
_NARROWER: Final = (
    ("clean_mean", "attacked_mean", "absolute_gain", "r_score"),
    ("attacked_mean", "absolute_gain", "r_score"),
    ("attacked_mean", "absolute_gain"),
    ("absolute_gain",),
)
"""The columns that remain on increasingly narrow terminals."""
_NAME: Final = 16
"""Characters per line of an attack's name if lines are short; longer words stay whole."""
_NO_END: Final = 10_000


class Tabulated(Protocol):
    """What can be shown as a table: the report of a run, or of files made elsewhere."""

    @property
    def metric_title(self) -> str:
        """The metric's name in prose."""
        ...

    @property
    def domain(self) -> str:
        """The reference metric that scores were mapped onto, in words; empty if they were not."""
        ...

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns."""
        ...

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows."""
        ...

    def label(self, chain: str) -> str:
        """Return a chain's name in prose."""
        ...

    def attack_name(self, attack: str) -> str:
        """Return an attack's name in prose."""
        ...

    def decimals(self, column: Column) -> int:
        """Return the digits after the point of a column."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Which columns a table has, and where the names in front of them may break."""

    keys: tuple[str, ...]
    with_interval: bool = False
    name: int = _NO_END
    """Characters per line of an attack's name."""
    chain: int = _NO_END
    """Characters per line of a chain; a parameter and its value stay together."""


def text_table(report: Tabulated, width: int | None = None) -> Table:
    """Format the columns that fit, and only the absolute gain's interval; the page and the CSV have everything.

    Nothing is truncated: if lines are short there are fewer columns, and chains break between their parameters.

    Args:
        report: the table.
        width: characters per line; None = unlimited, as in a file.
    """
    brief = tuple(column.key for column in report.columns if column.brief)
    layouts = [_Layout(keys=brief, with_interval=True), *(_Layout(keys=keys) for keys in _NARROWER)]
    if width is None:
        return _table(report, layouts[0])
    for layout in layouts:
        if width_of(table := _table(report, layout)) <= width:
            return table
        tight = replace(layout, name=_NAME, chain=1)
        if (spare := width - width_of(_table(report, tight))) >= 0:
            longest = max(len(part) for row in report.rows for part in parts_of(report.label(row.chain)))
            return _table(report, replace(tight, chain=longest + spare))
    return _table(report, tight)  # pyright: ignore[reportPossiblyUnboundVariable]


def _table(report: Tabulated, layout: _Layout) -> Table:
    columns = [column for column in report.columns if column.key in layout.keys]
    title = f"{report.metric_title}: robustness"
    table = Table(title=f"{title}, {report.domain}" if report.domain else title, header_style="bold")
    table.add_column("attack", no_wrap=True)
    table.add_column("defence", no_wrap=True)
    for column in columns:
        table.add_column(column.label, justify="right", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    for index, row in enumerate(report.rows):
        if index and row.attack != report.rows[index - 1].attack:
            table.add_section()
        name = report.attack_name(row.attack) + (" adaptive" if row.adaptive else "")
        lines = textwrap.fill(name, layout.name, break_long_words=False, break_on_hyphens=False)
        cells = (_cell(report, row, column, with_interval=layout.with_interval) for column in columns)
        table.add_row(escape(lines), escape(broken(report.label(row.chain), layout.chain)), *cells, str(row.images))
    return table


def parts_of(chain: str) -> list[str]:
    """Split a chain into parts that stay together: a name or one parameter, with the separator before the next."""
    return re.findall(r"(?:[^:+]|:(?=[0-9]))+[:+]?", chain)


def broken(chain: str, width: int) -> str:
    """Break a chain into lines of `width` characters, longer if a part is."""
    lines = [""]
    for part in parts_of(chain):
        if lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def number(value: float, decimals: int) -> str:
    """Format a number for people; a dash if there is none."""
    if not math.isfinite(value):
        return "∞" if value > 0 else MISSING
    # Adding 0 turns the -0.0 of a small negative number into 0.
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def value(estimate: Estimate, decimals: int) -> str:
    """Format the number of an estimate for people; `undefined` or a dash if there is none."""
    return number(estimate.value, decimals) if math.isfinite(estimate.value) else estimate.note or MISSING


def interval(estimate: Estimate, decimals: int) -> str:
    """Format the interval for people, or say why there is none; empty if there is no number."""
    if not math.isfinite(estimate.value):
        return ""
    if not math.isfinite(estimate.low):
        return estimate.note
    return f"[{number(estimate.low, decimals)}, {number(estimate.high, decimals)}]"


def _cell(report: Tabulated, row: Row, column: Column, *, with_interval: bool) -> str:
    estimate = row.scores.get(column.key)
    if estimate is None:
        return MISSING
    decimals = report.decimals(column)
    text = value(estimate, decimals)
    # Brackets of an interval look like rich's markup.
    span = escape(interval(estimate, decimals)) if with_interval and column.key == _WITH_INTERVAL else ""
    whole = f"{text} {span}".rstrip()
    return f"[dim]{whole}[/dim]" if estimate.weak else whole
