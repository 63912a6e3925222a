"""Several metrics side by side: the worst case of each behind each chain, raw and after the domain transform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scoreguard_client.report.build import Report
from scoreguard_client.report.tables.model import Cell, Heading, Line, Table
from scoreguard_client.report.tables.results import MISSING, head, images_of, numbers_of, records_behind, worst_gain


def metrics(reports: Sequence[Report]) -> Table | None:
    """Return the table of a run's metrics; None if it has one."""
    if len(reports) < 2:
        return None
    chains = list(dict.fromkeys(chain for report in reports for chain in report.metric.chains))
    columns = [column for report in reports for column in _columns(report, chains)]
    return Table(
        key="metrics",
        title="Metrics side by side",
        about="The worst gain of each metric behind each defence, each as a share of its own scale.",
        leading=("defence",),
        headings=tuple(heading for heading, _ in columns),
        lines=tuple(
            Line(
                key=chain,
                names=(_label(reports, chain),),
                cells=tuple(cells[index] for _, cells in columns),
                title=chain,
            )
            for index, chain in enumerate(chains)
        ),
    )


def _columns(report: Report, chains: Sequence[str]) -> list[tuple[Heading, list[Cell]]]:
    name, columns = report.metric.name, []
    raw = (
        replace(
            report, transform=None, bounds=replace(report.bounds, low=report.declared.low, high=report.declared.high)
        )
        if report.transform
        else report
    )
    cells = [_worst(raw, chain) for chain in chains]
    meaning = f"Mean over images of the highest gain of any attack on {report.metric_title}, as a share of its scale."
    columns.append((head(f"worst_gain:{name}", name, meaning, cells, shaded=True), cells))
    if report.transform:
        cells = [_worst(report, chain) for chain in chains]
        columns.append(
            (
                head(
                    f"worst_gain_transformed:{name}",
                    f"{name}, {report.domain}",
                    f"The same, {report.domain}.",
                    cells,
                    shaded=True,
                ),
                cells,
            )
        )
    return columns


def _worst(report: Report, chain: str) -> Cell:
    records = records_behind(report, chain)
    if not records:
        return MISSING
    return Cell(estimate=worst_gain(report, images_of(report, records, numbers_of(report, records))))


def _label(reports: Sequence[Report], chain: str) -> str:
    return next(report.labels[chain] for report in reports if chain in report.labels)
