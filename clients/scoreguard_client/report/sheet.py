"""A CSV file as lines with named cells; what is wrong with it is said with its line and column."""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from scoreguard_client.report.errors import TableError

_SHOWN: Final = 40
"""Most characters of a cell in a message."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line below the heading."""

    sheet: Path
    """The file."""
    number: int
    """Its number in the file, from 1."""
    cells: Mapping[str, str]
    """Its cells by column, without blanks around them."""

    def text(self, names: Sequence[str]) -> str:
        """Return the cell of the first of these columns that the file has; empty if it has none."""
        name = self._first(names)
        return "" if name is None else self.cells[name]

    def needed(self, names: Sequence[str]) -> float:
        """Return the number in the first of these columns that the file has; it has one of them.

        Raises:
            TableError: the cell is empty or holds something else.
        """
        return self._number(self._first(names) or names[0], math.nan)

    def number_of(self, names: Sequence[str], *, highest: float = math.nan) -> float | None:
        """Return the number in the first of these columns that the file has.

        Args:
            names: columns, the best first.
            highest: what infinity is read as; NaN = it is an error, as NaN in the file always is.

        Returns:
            None if the file has none of them, or the cell is empty.

        Raises:
            TableError: the cell holds something else.
        """
        name = self._first(names)
        return self._number(name, highest) if name is not None and self.cells[name] else None

    def _first(self, names: Sequence[str]) -> str | None:
        return next((name for name in names if name in self.cells), None)

    def _number(self, name: str, highest: float) -> float:
        try:
            value = float(self.cells[name])
        except ValueError as error:
            raise self.wrong(name, "is no number") from error
        value = highest if value == math.inf else value
        if not math.isfinite(value):
            raise self.wrong(name, "is not finite")
        return value

    def wrong(self, column: str, why: str) -> TableError:
        """Return the error that a cell of this line is."""
        cell = self.cells[column]
        shown = "an empty cell" if not cell else repr(cell if len(cell) <= _SHOWN else f"{cell[:_SHOWN]}…")
        return TableError(f"{self.sheet}, line {self.number}, column {column}: {shown} {why}")


def read_sheet(path: Path) -> tuple[Line, ...]:
    """Read a CSV file with a heading, plain or compressed by gzip (`.gz`).

    Raises:
        TableError: it cannot be read, is empty or has no line below the heading, or a line has more or fewer cells.
    """
    try:
        with _opened(path) as file:
            lines = tuple(_lines(path, csv.reader(file, strict=True)))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise TableError(f"{path} cannot be read as CSV: {error}") from error
    if not lines:
        raise TableError(f"{path} has no line below its heading")
    return lines


def _opened(path: Path) -> IO[str]:
    opener = gzip.open if path.suffix == ".gz" else open
    return opener(path, "rt", encoding="utf-8-sig", newline="")


def _lines(path: Path, reader: Iterator[list[str]]) -> Iterator[Line]:
    heading = [name.strip() for name in next(reader, [])]
    if not any(heading):
        raise TableError(f"{path} is empty: a table begins with a line of column names")
    if twice := [name for name in heading if name and heading.count(name) > 1]:
        raise TableError(f"{path} has two columns {twice[0]}")
    for cells in reader:
        if not cells:  # a blank line
            continue
        number: int = reader.line_num  # type: ignore[attr-defined]
        if len(cells) != len(heading):
            raise TableError(f"{path}, line {number}: {len(cells)} cells, and the heading has {len(heading)}")
        yield Line(sheet=path, number=number, cells=dict(zip(heading, map(str.strip, cells), strict=True)))
