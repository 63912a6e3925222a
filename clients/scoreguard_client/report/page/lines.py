"""The lines of a table as HTML: made by hand, since a template takes several times as long for 10,000 lines.

Each line is found by `data-line` and each cell by `data-heading`; whoever recomputes a cell writes into its `mark`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Final

from markupsafe import Markup, escape

from scoreguard_client.report.page.views import View
from scoreguard_client.report.tables.model import Cell, Heading, Line

_DEEPEST: Final = 30
"""Per cent of colour behind the largest number of a column; more would make it hard to read."""
_PART: Final = 200
"""Lines that a browser with scripts lays out before anyone scrolls."""


def lines_of(view: View) -> Markup:
    """Return the rows of the body of a table."""
    cells = [_cells_of(heading, index, view) for index, heading in enumerate(view.table.headings)]
    # Every part was escaped where it was made.
    lines = enumerate(view.table.lines)
    return Markup("\n".join(_line(line, view, cells, later=at >= _PART) for at, line in lines))


def _line(line: Line, view: View, cells: list[Callable[[Cell], str]], *, later: bool) -> str:
    chosen_by = {"mode": view.mode_of(line), "family": view.family_of(line)}
    data = "".join(f' data-{key}="{escape(value)}"' for key, value in chosen_by.items() if value)
    shown = "".join(make(cell) for make, cell in zip(cells, line.cells, strict=True))
    data += ' class="later"' if later else ""
    return f'<tr data-line="{escape(line.key)}"{data}>{_names(line)}{shown}</tr>'


def _names(line: Line) -> str:
    *before, last = line.names
    title = f' title="{escape(line.title)}"' if line.title else ""
    names = [f'<span class="name">{escape(name)}</span>' for name in before]
    tags = [f'<span class="tag">{escape(tag)}</span>' for tag in line.tags]
    last = breakable(last)
    return f'<th scope="row">{" ".join([*names, *tags])}<code class="name"{title}>{last}</code></th>'


def breakable(text: str) -> Markup:
    """Let a text break behind the marks of a chain in it, and elsewhere only if a part is too long."""
    return Markup(re.sub(r"[:+]", r"\g<0><wbr>", str(escape(text))))


def _cells_of(heading: Heading, index: int, view: View) -> Callable[[Cell], str]:
    """Return what makes the cells of a column."""
    start = f'<td data-heading="{escape(heading.key)}"'
    numbers = (abs(_number(line.cells[index])) for line in view.table.lines) if heading.shaded else iter(())
    largest = max((number for number in numbers if math.isfinite(number)), default=0.0)

    def cell_of(cell: Cell) -> str:
        shown = f'<span class="value">{escape(cell.value(heading.digits))}</span>'
        if cell.estimate is None and cell.plain is None:
            return f'{start} class="words">{shown}</td>'
        span = f'<small class="interval">{escape(cell.interval(heading.digits))}</small>' if cell.estimate else ""
        return f'{start}{_looks(cell, largest)}>{shown}{span}<span class="mark"></span></td>'

    return cell_of


def _looks(cell: Cell, largest: float) -> str:
    """Return class and style: grey if it says little, red or blue as an attack raised or lowered the quality."""
    names = ["weak"] if cell.estimate is not None and cell.estimate.weak else []
    number, heat = _number(cell), ""
    if largest and math.isfinite(number):
        names.append("up" if number > 0 else "down")
        heat = f' style="--heat:{_DEEPEST * abs(number) / largest:.0f}%"'
    return (f' class="{" ".join(names)}"' if names else "") + heat


def _number(cell: Cell) -> float:
    if cell.estimate is not None:
        return cell.estimate.value
    return math.nan if cell.plain is None else cell.plain
