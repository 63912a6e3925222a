"""The part of a report that figures show: attacks, not degraded copies, and records that did not fail."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from scoreguard.v1.spec import UNDEFENDED
from scoreguard_client.attacks.catalogue import kind_of
from scoreguard_client.campaign.records import Record
from scoreguard_client.report.build import Report
from scoreguard_client.report.tables.results import numbers_of
from scoreguard_client.report.text import number
from scoreguard_client.scores.estimates import Estimate
from scoreguard_client.scores.scaling import Values

Pools = dict[tuple[str, bool], list[Record]]
"""Records by chain and by whether the attack knew the chain."""


def shown(report: Report) -> Report:
    """Return the report without what no figure shows."""
    attacks = [attack for attack in report.names if not kind_of(attack).is_degradation]
    return replace(
        report,
        rows=tuple(row for row in report.rows if row.attack in attacks),
        records=tuple(record for record in report.records if record.attack in attacks and not record.error),
    )


def kinds_of(report: Report) -> tuple[bool, ...]:
    """Return the kinds of attackers, by whether they know the chain: first the one that does, since that one counts."""
    return tuple(sorted({row.adaptive for row in report.rows if row.scores}, reverse=True))


def pools_of(report: Report) -> Pools:
    """Group the records, in the order of the plan's chains.

    An attack on the undefended metric knows all that there is to know, so it stands beside attacks of either kind.
    """
    found: Pools = {}
    kinds = kinds_of(report)
    for record in report.records:
        for adaptive in kinds if record.chain == UNDEFENDED else (record.adaptive,):
            found.setdefault((record.chain, adaptive), []).append(record)
    order = report.metric.chains.index
    return dict(sorted(found.items(), key=lambda item: (order(item[0][0]), not item[0][1])))


def column(report: Report, key: str, records: Sequence[Record]) -> Estimate:
    """Compute a column of the report's tables over records."""
    (found,) = (column for column in report.columns if column.key == key)
    return found.compute(numbers_of(report, records))


def clean_once(records: Iterable[Record]) -> list[Record]:
    """Return one record for each clean score: attacks share them."""
    return list({(record.image, record.chain, record.draw): record for record in records}.values())


def mapped(report: Report, values: Values) -> Values:
    """Map scores as the report's tables do."""
    return report.transform.apply(values) if report.transform else values


def array(records: Sequence[Record], name: str) -> Values:
    """Return a field of each record: (records,)."""
    return np.array([getattr(record, name) for record in records], dtype=np.float64)


def said(value: float, decimals: int = 3) -> str:
    """Write a number for a figure or its description."""
    return number(value, decimals)


def finite(values: Iterable[float]) -> list[float]:
    """Return the numbers that are there."""
    return [value for value in values if math.isfinite(value)]
