"""Every table of a report, in the order in which it shows them."""

from __future__ import annotations

from collections.abc import Sequence

from scoreguard_client.report.build import Report
from scoreguard_client.report.tables.adaptive import adaptive
from scoreguard_client.report.tables.leaderboard import leaderboard
from scoreguard_client.report.tables.metrics import metrics
from scoreguard_client.report.tables.model import Table
from scoreguard_client.report.tables.order import order
from scoreguard_client.report.tables.people import people
from scoreguard_client.report.tables.robustness import robustness


def tables_of(reports: Sequence[Report]) -> tuple[Table, ...]:
    """Return all tables of a run's metrics, the worst cases first.

    Args:
        reports: one for each metric, at least one.
    """
    found = [
        *(leaderboard(report) for report in reports),
        metrics(reports),
        *(adaptive(report) for report in reports),
        *(robustness(report) for report in reports),
        *(order(report) for report in reports),
        *(people(report) for report in reports),
    ]
    return tuple(table for table in found if table is not None)
