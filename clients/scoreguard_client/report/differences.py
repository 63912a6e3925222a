"""What moved between two reports: cells of one address whose intervals do not overlap."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from scoreguard_client.campaign.ledger import FILE_NAME as LEDGER
from scoreguard_client.report.build import read_reports
from scoreguard_client.report.naming import attack_text
from scoreguard_client.report.numbers import TableOptions
from scoreguard_client.report.source import Source, source_of
from scoreguard_client.report.tables import tables_of
from scoreguard_client.report.tables.model import Address, Cell, Heading, Table
from scoreguard_client.report.writers.json_file import FILE, read_tables
from scoreguard_client.scores.estimates import Estimate


class Kind(StrEnum):
    """How sure a difference is."""

    MOVED = "moved"
    """The intervals do not overlap."""
    DIFFERS = "differs"
    """The values differ by more than a printed digit, and at least one has no interval."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A cell that is another one in the second report."""

    kind: Kind
    """How sure it is."""
    address: Address
    """Where it is."""
    where: tuple[str, ...]
    """Title of the table, names of the line and label of the heading, for people."""
    before: Cell
    """In the first report."""
    after: Cell
    """In the second one."""
    digits: int
    """Digits after the point for people."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        table, line, heading = self.address
        ends = {"before": _json(self.before), "after": _json(self.after)}
        return {"kind": self.kind.value, "table": table, "line": line, "heading": heading, **ends}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Two reports compared."""

    plans: str
    """What differs between the plans, in one line; empty if nothing does."""
    changes: tuple[Change, ...]
    """The cells that changed, in the order of the first report."""
    compared: int
    """Cells that both have."""
    only_first: int
    """Lines that only the first one has."""
    only_second: int
    """Lines that only the second one has."""

    def of(self, kind: Kind) -> tuple[Change, ...]:
        """Return the changes of a kind."""
        return tuple(change for change in self.changes if change.kind is kind)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "plans": self.plans,
            "compared": self.compared,
            "only_first": self.only_first,
            "only_second": self.only_second,
            **{kind.value: [change.to_json() for change in self.of(kind)] for kind in Kind},
        }


def read_any(path: Path) -> tuple[tuple[Table, ...], Source]:
    """Read the tables of a run directory, computed from its records, or of a `tables.json`.

    Raises:
        RunError: the directory holds no readable run, or one without records.
        TableError: the file cannot be read, or has other content.
    """
    if path.is_file():
        return read_tables(path)
    if not (path / LEDGER).is_file() and (path / FILE).is_file():
        return read_tables(path / FILE)
    reports = read_reports(path, TableOptions())
    return tables_of(reports), source_of(reports)


def compare(first: tuple[Sequence[Table], Source], second: tuple[Sequence[Table], Source]) -> Difference:
    """Compare the tables of two reports, cell by cell.

    Args:
        first: tables and where they are from.
        second: the same of the other.
    """
    others = {table.key: table for table in second[0]}
    lines = [{(table.key, line.key) for table in tables for line in table.lines} for tables in (first[0], second[0])]
    compared, changes = 0, []
    for table in first[0]:
        if (twin := others.get(table.key)) is None:
            continue
        for where, heading, before, after in _pairs(table, twin):
            compared += 1
            if kind := _kind(before, after, heading):
                address = Address(table.key, where[0], heading.key)
                changes.append(
                    Change(
                        kind=kind,
                        address=address,
                        where=(table.title, *where[1:], heading.label),
                        before=before,
                        after=after,
                        digits=heading.digits,
                    )
                )
    return Difference(
        plans=_plans(first[1], second[1]),
        changes=tuple(changes),
        compared=compared,
        only_first=len(lines[0] - lines[1]),
        only_second=len(lines[1] - lines[0]),
    )


def _pairs(table: Table, twin: Table) -> Iterator[tuple[tuple[str, ...], Heading, Cell, Cell]]:
    lines = {line.key: line for line in twin.lines}
    places = {heading.key: index for index, heading in enumerate(twin.headings)}
    for line in table.lines:
        if (other := lines.get(line.key)) is None:
            continue
        for heading, before in zip(table.headings, line.cells, strict=True):
            if (place := places.get(heading.key)) is not None:
                yield (line.key, *line.names, *line.tags), heading, before, other.cells[place]


def _kind(before: Cell, after: Cell, heading: Heading) -> Kind | None:
    one, other = before.estimate, after.estimate
    if one is not None and other is not None and _has_interval(one) and _has_interval(other):
        return Kind.MOVED if one.high < other.low or other.high < one.low else None
    first, second = _value(before), _value(after)
    if math.isnan(first) or math.isnan(second):
        same = before.text == after.text if math.isnan(first) and math.isnan(second) else False
    else:
        same = abs(first - second) <= 10.0**-heading.digits
    return None if same else Kind.DIFFERS


def _has_interval(estimate: Estimate) -> bool:
    return math.isfinite(estimate.low) and math.isfinite(estimate.high)


def _value(cell: Cell) -> float:
    if cell.estimate is not None:
        return cell.estimate.value
    return math.nan if cell.plain is None else cell.plain


def _json(cell: Cell) -> Any:
    if cell.estimate is not None:
        return {"value": cell.estimate.value, "low": cell.estimate.low, "high": cell.estimate.high}
    return cell.text if cell.plain is None else cell.plain


def _plans(first: Source, second: Source) -> str:
    if first.plan_sha256 == second.plan_sha256 and first.options == second.options:
        return ""
    found = []
    for name in ("metrics", "attacks", "chains"):
        one, other = getattr(first, name), getattr(second, name)
        gone, new = ([text for text in mine if text not in theirs] for mine, theirs in ((one, other), (other, one)))
        if gone or new:
            texts = [*(f"-{attack_text(text)}" for text in gone), *(f"+{attack_text(text)}" for text in new)]
            found.append(f"{name}: {', '.join(texts)}")
    if first.images != second.images:
        found.append(f"images: {first.images} and {second.images}")
    if first.options != second.options:
        found.append(f"options: {first.options} and {second.options}")
    return "; ".join(found) or "the same metrics, attacks, chains and number of images, but other images or settings"
