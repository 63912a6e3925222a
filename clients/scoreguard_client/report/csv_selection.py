"""Which lines of tables made elsewhere count, what their metric is, and how they are grouped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scoreguard.score_range import ScoreRange
from scoreguard_client.attacks.degraded.catalogue import DEGRADED_COPIES
from scoreguard_client.report.csv_records import Entry
from scoreguard_client.report.errors import TableError

GROUPS: Final = ("test_dataset", "attack", "chain", "adaptive")
"""Columns whose values make a row each, as far as a table has them."""


@dataclass(frozen=True, kw_only=True)
class CsvOptions:
    """How tables are read."""

    metric: str = ""
    """The metric; empty = that of the column `metric`, or of the files' names."""
    range: ScoreRange | None = None
    """The metric's range and direction; None = its clean scores, and the direction of the column `lower_better`."""
    by: tuple[str, ...] | None = None
    """Columns whose values make a row each; empty = one row of everything, None = those of `GROUPS` that are there."""
    where: tuple[tuple[str, str], ...] = ()
    """Columns and the value that lines must have there."""


def chosen(entries: Sequence[Entry], table: CsvOptions) -> list[Entry]:
    """Return the lines that were asked for.

    Raises:
        TableError: a column is not there, or no line has the value in it.
    """
    there = _names(entries)
    for column, value in table.where:
        _require(column, there)
        entries = [entry for entry in entries if entry.labels.get(column, "") == value]
        if not entries:
            raise TableError(f"no line has {value} in the column {column}")
    if table.metric and any(entry.labels["metric"] == table.metric for entry in entries):
        return [entry for entry in entries if entry.labels["metric"] == table.metric]
    return list(entries)


def of_attacks(entries: Sequence[Entry]) -> list[Entry]:
    """Return the lines of attacks: a table of ours may have degraded copies too.

    Raises:
        TableError: there is none.
    """
    kept = [entry for entry in entries if entry.labels["attack"].split(":")[0] not in DEGRADED_COPIES]
    if not kept:
        raise TableError("every line is of a degraded copy, and none of an attack")
    return kept


def _names(entries: Sequence[Entry]) -> list[str]:
    return list(dict.fromkeys(name for entry in entries for name in entry.labels))


def _require(column: str, there: Sequence[str]) -> None:
    if column not in there:
        raise TableError(f"no table has a column {column}, only {', '.join(there)}")


def metric_of(entries: Sequence[Entry], table: CsvOptions) -> str:
    """Return the metric; empty if nothing names it.

    Raises:
        TableError: the lines are of several, or of another than asked for.
    """
    there = sorted({entry.labels["metric"] for entry in entries})
    if len(there) > 1:
        raise TableError(f"the tables have scores of {', '.join(name or 'no name' for name in there)}: give --metric")
    if table.metric and there != [table.metric]:
        raise TableError(f"the tables have no scores of {table.metric}, only of {there[0]}")
    return there[0]


def higher_is_better_of(entries: Sequence[Entry], table: CsvOptions) -> bool | None:
    """Return the metric's direction; None if neither the options nor the tables state one.

    Raises:
        TableError: they state both.
    """
    stated = {not entry.lower_is_better for entry in entries if entry.lower_is_better is not None}
    if table.range is not None:
        stated.add(table.range.higher_is_better)
    if len(stated) > 1:
        raise TableError("the column lower_better has both values, or another than --range WORST,BEST says")
    return next(iter(stated), None)


def clean_range_of(entries: Sequence[Entry], *, higher_is_better: bool) -> ScoreRange:
    """Return the range of all clean scores, for a metric whose own is not given.

    Raises:
        TableError: there is no clean score, or but one.
    """
    records = (entry.record for entry in entries if not entry.record.error)
    clean = [record.clean_defended for record in records if record.clean_defended is not None]
    if not clean:
        raise TableError("every line of the tables states an error")
    if min(clean) == max(clean):
        raise TableError(f"every clean score is {clean[0]:g}, which is no range: give --range WORST,BEST")
    return ScoreRange(low=min(clean), high=max(clean), higher_is_better=higher_is_better)


def by_of(entries: Sequence[Entry], table: CsvOptions) -> tuple[str, ...]:
    """Return the columns whose values make a row each.

    Raises:
        TableError: one is not there.
    """
    there = _names(entries)
    for name in table.by or ():
        _require(name, there)
    return tuple(name for name in GROUPS if name in there) if table.by is None else table.by
