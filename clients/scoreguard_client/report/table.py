"""The robustness table: one row for each attack and chain, adaptive attacks apart, every number with its interval.

Gains and distances compare what the service answers: f(g(x)) for the clean image and f(g(x')) for the attacked one,
so a defence gains nothing by lowering every score alike. `Gain` and SROCC compare with the undefended f(x), as their
paper does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from scoreguard.score_range import ScoreRange
from scoreguard_client.campaign.records import Record
from scoreguard_client.report.columns import COLUMNS, Column
from scoreguard_client.report.numbers import Numbers, TableOptions
from scoreguard_client.report.transforms import Transform
from scoreguard_client.scores.estimates import Estimate

_SCORES = (
    "clean_score",
    "clean_defended",
    "attacked_score",
    "attacked_defended",
    "attacked_score_8bit",
    "attacked_defended_8bit",
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One attack behind one chain."""

    attack: str
    """The attack in its text form."""
    chain: str
    """The chain that the images were scored behind."""
    adaptive: bool
    """Whether the attack knew the chain."""
    images: int
    """Images with at least one record that did not fail."""
    records: int
    """Records that did not fail."""
    failed: int
    """Records that failed; no number includes them."""
    queries: float
    """Mean queries per image."""
    scores: dict[str, Estimate]
    """The columns by key; empty if every record failed."""


def robustness_table(
    records: Sequence[Record],
    declared: ScoreRange,
    options: TableOptions,
    columns: Sequence[Column] = COLUMNS,
    transform: Transform | None = None,
) -> list[Row]:
    """Aggregate the records of a run; rows come in the order of the records' first appearance by attack and chain."""
    groups: dict[tuple[str, str, bool], list[Record]] = {}
    for record in map(sound, records):
        groups.setdefault((record.attack, record.chain, record.adaptive), []).append(record)
    return [table_row(key, group, declared, options, columns, transform) for key, group in groups.items()]


def sound(record: Record) -> Record:
    """Return the record, marked as failed if a score in it is missing or not finite although no error was noted."""
    if record.error:
        return record
    bad = [name for name in _SCORES if not math.isfinite(_number(getattr(record, name)))]
    return replace(record, error=f"{bad[0]} is not a finite number") if bad else record


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def table_row(
    key: tuple[str, str, bool],
    records: Sequence[Record],
    declared: ScoreRange,
    options: TableOptions,
    columns: Sequence[Column],
    transform: Transform | None = None,
) -> Row:
    """Aggregate records.

    Args:
        key: the row's attack, chain, and whether the attack knew the chain.
        records: the records; those that state an error count as failed.
        declared: what scores are scaled by; with a transform, scores before it.
        options: variants of the scores.
        columns: the columns to compute.
        transform: a map that is applied to the scores first; its own range is what mapped scores are scaled by.
    """
    good = [record for record in records if not record.error]
    numbers = Numbers(good, declared, options, transform) if good else None
    return Row(
        attack=key[0],
        chain=key[1],
        adaptive=key[2],
        images=len({record.image for record in good}),
        records=len(good),
        failed=len(records) - len(good),
        queries=float(np.mean([record.queries or 0 for record in good])) if good else 0.0,
        scores={column.key: column.compute(numbers) for column in columns} if numbers else {},
    )
