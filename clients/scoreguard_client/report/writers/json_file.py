"""The tables as one JSON file, which `read_tables` reads back: what `scoreguard report diff` compares."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from scoreguard.support.console import json_text
from scoreguard_client.report.errors import TableError
from scoreguard_client.report.source import Source
from scoreguard_client.report.tables.model import Cell, Heading, Line, Table
from scoreguard_client.scores.estimates import Estimate

FILE: Final = "tables.json"
_FORMAT: Final = 1


def tables_json(tables: Sequence[Table], source: Source) -> str:
    """Return tables and their source as JSON; numbers that are missing are null, and texts are as they are."""
    content = {"format": _FORMAT, "source": asdict(source), "tables": [_table(table) for table in tables]}
    return json_text(content) + "\n"


def read_tables(path: Path) -> tuple[tuple[Table, ...], Source]:
    """Read what `tables_json` wrote.

    Raises:
        TableError: the file cannot be read, or has other content.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise TableError(f"{path} has format {content['format']}, and this version reads {_FORMAT}: make it anew")
        told = content["source"]
        source = Source(
            plan_sha256=str(told["plan_sha256"]),
            metrics=tuple(told["metrics"]),
            attacks=tuple(told["attacks"]),
            chains=tuple(told["chains"]),
            images=int(told["images"]),
            command=str(told["command"]),
            options=str(told["options"]),
        )
        return tuple(_read_table(table) for table in content["tables"]), source
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise TableError(f"{path} cannot be read as the tables of a report: {why}") from error


def _table(table: Table) -> dict[str, Any]:
    return {
        "key": table.key,
        "title": table.title,
        "about": table.about,
        "leading": table.leading,
        "headings": [asdict(heading) for heading in table.headings],
        "lines": [
            {
                "key": line.key,
                "names": line.names,
                "tags": line.tags,
                "title": line.title,
                "cells": {heading.key: _cell(cell) for heading, cell in zip(table.headings, line.cells, strict=True)},
            }
            for line in table.lines
        ],
    }


def _cell(cell: Cell) -> dict[str, Any]:
    if cell.estimate is not None:
        return asdict(cell.estimate)
    return {"text": cell.text} if cell.plain is None else {"plain": cell.plain}


def _read_table(table: Mapping[str, Any]) -> Table:
    headings = tuple(Heading(**heading) for heading in table["headings"])
    return Table(
        key=table["key"],
        title=table["title"],
        about=table["about"],
        leading=tuple(table["leading"]),
        headings=headings,
        lines=tuple(
            Line(
                key=line["key"],
                names=tuple(line["names"]),
                tags=tuple(line["tags"]),
                title=line["title"],
                cells=tuple(_read_cell(line["cells"][heading.key]) for heading in headings),
            )
            for line in table["lines"]
        ),
    )


def _read_cell(cell: Mapping[str, Any]) -> Cell:
    if "value" in cell:
        value, low, high = (_number(cell[name]) for name in ("value", "low", "high"))
        marks = {"undefined": cell["undefined"], "weak": cell["weak"]}
        return Cell(estimate=Estimate(value=value, low=low, high=high, note=cell["note"], **marks))
    return Cell(plain=_number(cell["plain"])) if "plain" in cell else Cell(text=cell["text"])


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
