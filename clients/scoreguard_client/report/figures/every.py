"""Every figure that a run has data for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from scoreguard_client.report.build import Report
from scoreguard_client.report.figures.budgets import budgets
from scoreguard_client.report.figures.detections import detections
from scoreguard_client.report.figures.gain_curves import gain_curves
from scoreguard_client.report.figures.gains import gains
from scoreguard_client.report.figures.heatmaps import heatmaps
from scoreguard_client.report.figures.model import SUFFIXES, Figure
from scoreguard_client.report.figures.quality_gain import quality_gain
from scoreguard_client.report.figures.selection import shown
from scoreguard_client.report.figures.sweeps import sweeps

FIGURES: Final = "figures"
"""Folder of the figures' files in the folder of a run's report."""
_MAKERS: Final[Sequence[Callable[[Report], Iterable[Figure]]]] = (
    gains,
    heatmaps,
    quality_gain,
    gain_curves,
    sweeps,
    budgets,
    detections,
)
"""What makes them, in the order of a page; each figure is drawn only when it is asked for."""


def figures(reports: Sequence[Report]) -> tuple[Figure, ...]:
    """Return the figures of a run that it has data for, metric by metric."""
    alone, parts = len(reports) == 1, [shown(report) for report in reports]
    return tuple(
        _of_metric(figure, report, alone=alone) for report in parts for make in _MAKERS for figure in make(report)
    )


def _of_metric(figure: Figure, report: Report, *, alone: bool) -> Figure:
    name, title = report.metric.name, report.metric_title
    figure = replace(figure, metric=name)
    if alone:
        return figure
    return replace(figure, key=f"{name}-{figure.key}", title=f"{title}: {figure.title}", alt=f"{title}: {figure.alt}")


def write_figures(found: Iterable[Figure], folder: Path) -> None:
    """Write figures as SVG, PDF and PNG into a folder, in place of those that an earlier report left there."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in SUFFIXES:
        for old in folder.glob(f"*.{suffix}"):
            old.unlink()
    for figure in found:
        figure.write(folder)
