"""Agreement with people: do served scores order images as those who looked at them, and do they when attacked?

Both sides are turned so that higher is better. A video has the mean of its frames' scores, as a clip has. Scores are in
the metric's own units, whatever the other tables are scaled by; ranks do not depend on that, and Pearson's correlation
is of the scores as they are, without the curve that studies of metrics fit first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np

from scoreguard_client.attacks.catalogue import kind_of
from scoreguard_client.campaign.records import Record
from scoreguard_client.report.build import Report
from scoreguard_client.report.digits import decimals_of_column
from scoreguard_client.report.tables.model import SEPARATOR, Cell, Heading, Line, Table
from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.correlations import KROCC, PLCC, SROCC, Correlation
from scoreguard_client.scores.estimates import Estimate, correlation_estimate
from scoreguard_client.target.images import unit_of

CLEAN: Final = "clean"
"""Name of the lines of clean images."""
_KINDS: Final[tuple[tuple[str, str, str, Correlation], ...]] = (
    ("srocc", "SROCC", "Rank correlation (Spearman) of the served scores with people's; 1 = the same order.", SROCC),
    ("plcc", "PLCC", "Linear correlation (Pearson) of the same, without a fitted curve.", PLCC),
    ("krocc", "KROCC", "Rank correlation (Kendall); 0.6 = 80 % of the pairs of images are in people's order.", KROCC),
)
_COUNT: Final = Heading(key="images", label="n", meaning="Images, or videos, with both scores.", digits=0)

Served = Mapping[tuple[str, int], float]
"""Served score of each image and draw."""


class _Group(NamedTuple):
    """Which attack a line is of."""

    attack: str
    adaptive: bool


def people(report: Report) -> Table | None:
    """Return the table: for each chain a line for clean images, then one for each attack; None if nobody was asked."""
    asked = set(report.people.scores) if report.people else set[str]()
    records = [record for record in report.records if not record.error and record.image in asked]
    if report.people is None or not records:
        return None
    lines = tuple(line for chain in report.metric.chains for line in _lines(report, chain, records))
    return Table(
        key=f"people:{report.metric.name}",
        title=f"Agreement of {report.metric_title} with people",
        about=(
            f"Correlation of the served scores with what people said of the clean images ({report.people.words}), "
            "higher = better on both sides: of the clean images, and of the attacked ones in their place."
        ),
        leading=("images", "defence"),
        headings=(*(_head(number, lines) for number in range(len(_KINDS))), _COUNT),
        lines=lines,
    )


def _lines(report: Report, chain: str, records: Iterable[Record]) -> Iterator[Line]:
    behind = [record for record in records if record.chain == chain]
    groups: dict[_Group, list[Record]] = {}
    for record in behind:
        if not kind_of(record.attack).is_degradation:
            groups.setdefault(_Group(record.attack, record.adaptive), []).append(record)
    order = list(report.names).index
    clean = {(record.image, record.draw): record.clean_defended for record in behind}
    yield Line(
        key=SEPARATOR.join([CLEAN, chain]),
        names=(CLEAN, report.label(chain)),
        cells=_cells(report, _scores(clean)),
        title=f"{CLEAN} images behind {chain}",
    )
    for group in sorted(groups, key=lambda group: (order(group.attack), not group.adaptive)):
        attacked = {(record.image, record.draw): record.attacked_defended for record in groups[group]}
        tag = "adaptive" if group.adaptive else "unaware"
        yield Line(
            key=SEPARATOR.join([group.attack, chain, tag]),
            names=(report.attack_name(group.attack), report.label(chain)),
            cells=_cells(report, _scores(attacked)),
            tags=(tag,) if group.adaptive else (),
            title=f"{group.attack} behind {chain}",
        )


def _scores(served: Mapping[tuple[str, int], float | None]) -> Served:
    # Sound records have all scores.
    return {key: math.nan if value is None else value for key, value in served.items()}


def _cells(report: Report, served: Served) -> tuple[Cell, ...]:
    count = len({unit_of(image) for image, _ in served})
    return (*(Cell(estimate=estimate) for estimate in _estimates(report, served)), Cell(plain=float(count)))


def _estimates(report: Report, served: Served) -> Iterator[Estimate]:
    if report.people is None or not served:
        yield from (Estimate(value=math.nan) for _ in _KINDS)
        return
    sign, quality = 1.0 if report.declared.higher_is_better else -1.0, report.people.quality
    rows: dict[tuple[str, int], list[float]] = {}
    for (image, draw), score in served.items():
        rows.setdefault((unit_of(image), draw), []).append(sign * score)
    opinions = {unit_of(image): quality[image] for image, _ in served}
    scores = np.array([math.fsum(of_row) / len(of_row) for of_row in rows.values()])
    said = np.array([opinions[unit] for unit, _ in rows])
    clusters = Clusters([unit for unit, _ in rows], resamples=report.options.resamples)
    for _, _, _, kind in _KINDS:
        yield correlation_estimate(scores, said, clusters, kind=kind)


def _head(number: int, lines: Iterable[Line]) -> Heading:
    key, label, meaning, _ = _KINDS[number]
    estimates = (line.cells[number].estimate for line in lines)
    digits = decimals_of_column((estimate.value for estimate in estimates if estimate), 3)
    return Heading(key=key, label=label, meaning=meaning, digits=digits)
