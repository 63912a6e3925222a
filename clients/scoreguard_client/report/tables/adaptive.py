"""What it helps an attack to know the chain: the same attack with and without, paired by image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scoreguard_client.campaign.records import Record
from scoreguard_client.report.build import Report
from scoreguard_client.report.naming import attack_text
from scoreguard_client.report.table import Row
from scoreguard_client.report.tables.model import SEPARATOR, Cell, Line, Table
from scoreguard_client.report.tables.results import MISSING, head, numbers_of
from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.estimates import Estimate, mean_estimate


def adaptive(report: Report) -> Table | None:
    """Return the table; None if no attack both knew a chain and did not."""
    rows = {(row.attack, row.chain, row.adaptive): row for row in report.rows}
    pairs = [
        (row, rows[twin]) for row in report.rows if row.adaptive and (twin := (row.attack, row.chain, False)) in rows
    ]
    if not pairs:
        return None
    records: dict[tuple[str, str], list[Record]] = {}
    for record in report.attacked:
        records.setdefault((record.attack, record.chain), []).append(record)
    lines = tuple(
        _line(report, knowing, other, records.get((knowing.attack, knowing.chain), [])) for knowing, other in pairs
    )
    columns = tuple(zip(*(line.cells for line in lines), strict=True))
    return Table(
        key=f"adaptive:{report.metric.name}",
        title=f"Attacks on {report.metric_title} that know the defence",
        about=(
            "The gain of each attack that knew the defence, of the same attack made on the metric alone, and the mean "
            "difference over the images that both have."
        ),
        leading=("attack", "defence"),
        headings=(
            head(
                "gain_adaptive",
                "gain, adaptive",
                "Mean gain of the attack that knew the defence.",
                columns[0],
                shaded=True,
            ),
            head(
                "gain_unaware",
                "gain, unaware",
                "Mean gain of the same attack on the metric alone.",
                columns[1],
                shaded=True,
            ),
            head(
                "difference",
                "difference",
                "Mean over images of the first less the second; above 0 knowing helps.",
                columns[2],
                shaded=True,
            ),
        ),
        lines=lines,
    )


def _line(report: Report, knowing: Row, other: Row, records: Sequence[Record]) -> Line:
    gains = [row.scores.get("absolute_gain") for row in (knowing, other)]
    difference = _difference(report, records)
    return Line(
        key=SEPARATOR.join([knowing.attack, knowing.chain]),
        names=(report.attack_name(knowing.attack), report.label(knowing.chain)),
        cells=tuple(MISSING if estimate is None else Cell(estimate=estimate) for estimate in (*gains, difference)),
        title=f"{attack_text(knowing.attack)} behind {knowing.chain}",
    )


def _difference(report: Report, records: Sequence[Record]) -> Estimate | None:
    """Estimate the mean difference of the images' mean gains; None if no image has both."""
    if not records:
        return None
    numbers = numbers_of(report, records)
    gains, knew = numbers.v - numbers.u, np.array([record.adaptive for record in records])
    owners, count = numbers.images.owners, numbers.images.count
    rows = [np.bincount(owners[side], minlength=count) for side in (knew, ~knew)]
    sums = [np.bincount(owners[side], weights=gains[side], minlength=count) for side in (knew, ~knew)]
    both = (rows[0] > 0) & (rows[1] > 0)
    if not both.any():
        return None
    names = np.array(list(dict.fromkeys(record.unit for record in records)))[both].tolist()
    differences = sums[0][both] / rows[0][both] - sums[1][both] / rows[1][both]
    return mean_estimate(differences, Clusters(names, resamples=report.options.resamples))
