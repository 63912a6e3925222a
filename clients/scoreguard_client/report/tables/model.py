"""A table of a report as a value, without a word of how it is shown.

A cell is an estimate with its interval, a plain number, or text. Every estimate is computed from the run's records
alone, and has an address (table, line, heading) by which a page, and whoever verifies one, finds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from scoreguard_client.report.text import interval, number, value
from scoreguard_client.scores.estimates import Estimate

SEPARATOR: Final = "|"
"""Between the parts of a line's key; neither attacks nor chains contain it."""


class Address(NamedTuple):
    """Where a cell is."""

    table: str
    """Key of the table."""
    line: str
    """Key of the line."""
    heading: str
    """Key of the heading."""


@dataclass(frozen=True, kw_only=True)
class Heading:
    """The head of a column."""

    key: str
    """Name in CSV and JSON."""
    label: str
    """Text for people."""
    meaning: str
    """One sentence."""
    digits: int = 3
    """Digits after the point of its numbers in tables for people."""
    shaded: bool = False
    """Whether cells are coloured by their value: red where an attack raised the quality, blue where it lowered it."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell: an estimate, a number or text; missing if it has none of them."""

    estimate: Estimate | None = None
    """A number with its interval."""
    plain: float | None = None
    """A number that has no interval, such as a count."""
    text: str = ""
    """Text, such as the name of an attack."""

    def value(self, digits: int) -> str:
        """Return the number, or the text, for people."""
        if self.estimate is not None:
            return value(self.estimate, digits)
        return self.text if self.plain is None else number(self.plain, digits)

    def interval(self, digits: int) -> str:
        """Return the interval for people, or why there is none; empty if there is no estimate."""
        return interval(self.estimate, digits) if self.estimate is not None else ""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a table."""

    key: str
    """Unique in its table: its names in the form that records have, joined by `SEPARATOR`."""
    names: tuple[str, ...]
    """What it is about, for people: one text for each of the table's leading headings."""
    cells: tuple[Cell, ...]
    """One for each heading."""
    tags: tuple[str, ...] = ()
    """Short marks beside its names, such as `adaptive`."""
    title: str = ""
    """The full form of its last name, shown on request."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table."""

    key: str
    """Unique in a report, such as `leaderboard:lite`."""
    title: str
    """For people."""
    about: str
    """One or two sentences: what it shows, and what it counts."""
    leading: tuple[str, ...]
    """Headings of the names."""
    headings: tuple[Heading, ...]
    """Headings of the cells."""
    lines: tuple[Line, ...]
    """The lines, the most important first."""
