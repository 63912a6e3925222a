"""A table for a terminal: as many columns as fit, the first first, and nothing cut off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from rich.markup import escape
from rich.table import Table as RichTable

from scoreguard.support.console import width_of
from scoreguard_client.report.tables.model import Cell, Heading, Table
from scoreguard_client.report.text import broken, parts_of

_NO_END: Final = 10_000


def terminal_table(table: Table, width: int | None = None) -> RichTable:
    """Format a table; the first column has its interval if there is room; columns without a number are left out.

    Args:
        table: the table, whose last name may be broken between its parts if not even one column fits beside it.
        width: characters a line, which decide how many columns there are; None = unlimited, as in a file.
    """
    told = [index for index in range(len(table.headings)) if any(_told(line.cells[index]) for line in table.lines)]
    counts = [*range(len(told), 0, -1), 1]
    for place, count in enumerate(counts):
        shown = _formatted(table, told[:count], with_interval=place < len(counts) - 1)
        if width is None or width_of(shown) <= width:
            return shown
    longest = max((len(part) for line in table.lines for part in parts_of(line.names[-1])), default=1)
    spare = (width or 0) - width_of(_formatted(table, told[:1], with_interval=False, name=1))
    return _formatted(table, told[:1], with_interval=False, name=longest + max(0, spare))


def _formatted(table: Table, columns: Sequence[int], *, with_interval: bool, name: int = _NO_END) -> RichTable:
    found = RichTable(title=escape(table.title), header_style="bold")
    for leading in table.leading:
        found.add_column(leading, no_wrap=True)
    for index in columns:
        found.add_column(escape(table.headings[index].label), justify="right", no_wrap=True)
    for line in table.lines:
        names = [*line.names[:-1], " ".join([broken(line.names[-1], name), *line.tags])]
        cells = (
            _cell(line.cells[index], table.headings[index], with_interval=with_interval and index == columns[0])
            for index in columns
        )
        found.add_row(*map(escape, names), *cells)
    return found


def _told(cell: Cell) -> bool:
    if cell.estimate is not None:
        return math.isfinite(cell.estimate.value) or bool(cell.estimate.note)
    return bool(cell.text) if cell.plain is None else math.isfinite(cell.plain)


def _cell(cell: Cell, heading: Heading, *, with_interval: bool) -> str:
    """Return the cell as rich's markup; what says little is dim."""
    text = cell.value(heading.digits)
    whole = escape(f"{text} {cell.interval(heading.digits)}".rstrip() if with_interval else text)
    return f"[dim]{whole}[/dim]" if cell.estimate is not None and cell.estimate.weak else whole
