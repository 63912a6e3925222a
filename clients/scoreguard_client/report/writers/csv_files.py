"""Each table as a CSV file: keys and exact numbers, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scoreguard_client.report.build import write_csv
from scoreguard_client.report.tables.model import Cell, Line, Table

_ENDS = ("", "_low", "_high")


def write_csv_files(tables: Sequence[Table], folder: Path) -> None:
    """Write a file for each table, and remove those of tables that are no more."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.csv"):
        old.unlink()
    for table in tables:
        heading, *lines = csv_lines(table)
        write_csv(folder / f"{file_stem(table)}.csv", [str(name) for name in heading], lines)


def file_stem(table: Table) -> str:
    """Return the name of a table's file, without an ending: its key, without what file systems refuse."""
    return table.key.replace(":", "-")


def csv_lines(table: Table) -> list[list[object]]:
    """Return the heading and the lines; the number of an estimate is followed by both ends of its interval.

    A line begins with its key, its names for people and its tags. Numbers that are missing are NaN.
    """
    estimated = [any(line.cells[index].estimate for line in table.lines) for index in range(len(table.headings))]
    names: list[object] = ["line", *table.leading, "tags"]
    for heading, wide in zip(table.headings, estimated, strict=True):
        names += [heading.key + end for end in (_ENDS if wide else ("",))]
    return [names, *(_line(line, estimated) for line in table.lines)]


def _line(line: Line, estimated: Sequence[bool]) -> list[object]:
    cells = [part for cell, wide in zip(line.cells, estimated, strict=True) for part in _parts(cell, wide=wide)]
    return [line.key, *line.names, " ".join(line.tags), *cells]


def _parts(cell: Cell, *, wide: bool) -> list[object]:
    if cell.estimate is not None:
        return [cell.estimate.value, cell.estimate.low, cell.estimate.high]
    only: object = cell.text if cell.plain is None else cell.plain
    return [only, "", ""] if wide else [only]
