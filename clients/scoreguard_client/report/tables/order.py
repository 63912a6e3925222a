"""Order violations: how often each chain prefers a degraded copy of an image to the image, by degradation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scoreguard_client.attacks.catalogue import kind_of
from scoreguard_client.campaign.records import Record
from scoreguard_client.report.build import Report
from scoreguard_client.report.tables.model import Cell, Line, Table
from scoreguard_client.report.tables.results import MISSING, head
from scoreguard_client.scores.estimates import Estimate
from scoreguard_client.scores.ordering import order_violations


def order(report: Report) -> Table | None:
    """Return the table; None if the run has no degraded copies."""
    copies: dict[tuple[str, str], list[Record]] = {}
    for record in report.degraded:
        copies.setdefault((record.chain, kind_of(record.attack).name), []).append(record)
    if not copies:
        return None
    planned = dict.fromkeys(kind_of(attack).name for attack in report.plan.attacks)
    names = [name for name in planned if any(kind == name for _, kind in copies)]
    lines = tuple(
        Line(
            key=chain,
            names=(report.label(chain),),
            cells=tuple(_cell(report, copies.get((chain, name), ())) for name in names),
            title=chain,
        )
        for chain in report.metric.chains
    )
    columns = tuple(zip(*(line.cells for line in lines), strict=True))
    return Table(
        key=f"order:{report.metric.name}",
        title=f"Degraded copies that {report.metric_title} prefers",
        about=(
            "Share of the degraded copies that score above their image, all strengths of a degradation together. The "
            "order is known without asking people: 0 is right, and equal scores are no violation."
        ),
        leading=("defence",),
        headings=tuple(
            head(name, kind_of(name).title, f"Share of the copies by {kind_of(name).title} that score above.", column)
            for name, column in zip(names, columns, strict=True)
        ),
        lines=lines,
    )


def violations(report: Report, records: Sequence[Record]) -> Estimate:
    """Estimate the share of degraded copies that score above their image; at least one record."""
    sign = 1.0 if report.declared.higher_is_better else -1.0
    originals = np.array([record.clean_defended for record in records], np.float64)
    copies = np.array([record.attacked_defended for record in records], np.float64)
    return order_violations(sign * originals, sign * copies, [record.unit for record in records]).violations


def _cell(report: Report, records: Sequence[Record]) -> Cell:
    return Cell(estimate=violations(report, records)) if records else MISSING
