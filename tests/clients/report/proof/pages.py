"""A page with the tables, the records and the script, and nothing else: what each of them is found by."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape
from typing import Any

from tests.clients.report.proof.conftest import Made

from scoreguard_client.report.proof.payload import packed, payload
from scoreguard_client.report.proof.restore import unpacked
from scoreguard_client.report.proof.script import script
from scoreguard_client.report.tables import Table


def board(table: Table) -> str:
    """One table."""
    lines = []
    for line in table.lines:
        names = "".join(f'<span class="name">{escape(name)}</span>' for name in line.names)
        cells = "".join(
            f'<td data-heading="{escape(heading.key)}"><span class="value">{escape(cell.value(heading.digits))}</span>'
            f'<small class="interval">{escape(cell.interval(heading.digits))}</small><span class="mark"></span></td>'
            for heading, cell in zip(table.headings, line.cells, strict=True)
        )
        lines.append(f'<tr data-line="{escape(line.key)}"><th>{names}</th>{cells}</tr>')
    return f'<table data-table="{escape(table.key)}">' + "\n".join(lines) + "</table>"


def page(made: Made, records: str = "") -> str:
    """The whole page; the records are those of the reports unless others are given."""
    boards = "\n".join(map(board, made.tables))
    embedded = records or payload(made.reports, made.tables)
    return (
        f'<!doctype html><html><meta charset="utf-8"><body><p id="proof"></p>{boards}'
        f'<script type="application/json" id="records">{embedded}</script>'
        f"<script>{script()}</script></body></html>\n"
    )


def changed_records(made: Made, change: Callable[[dict[str, Any]], None]) -> str:
    """The embedded text after a change of its content, with the digest that belongs to it."""
    content = unpacked(payload(made.reports, made.tables))
    change(content)
    return packed(json.dumps(content))
