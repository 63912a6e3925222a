"""The leaderboard: a line for each chain, the one with the lowest worst case first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from scoreguard.v1.spec import UNDEFENDED
from scoreguard_client.campaign.records import Record
from scoreguard_client.report.build import Report
from scoreguard_client.report.columns import COLUMNS
from scoreguard_client.report.numbers import Numbers
from scoreguard_client.report.tables.families import over_what
from scoreguard_client.report.tables.model import Cell, Line, Table
from scoreguard_client.report.tables.order import violations
from scoreguard_client.report.tables.ranked import pairs_text, rank_texts
from scoreguard_client.report.tables.results import (
    MISSING,
    Images,
    first_of_each,
    head,
    images_of,
    kind_of_record,
    numbers_of,
    records_behind,
    worst_gain,
)
from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.detection import tampering
from scoreguard_client.scores.estimates import Estimate
from scoreguard_client.scores.inversions import rank_inversions

LEADERBOARD: Final = "leaderboard"
"""What the key of every leaderboard begins with."""
GAP: Final = 0.1
"""Share of the scale by which the clean undefended scores of a poor and a better image differ, at least."""
_FROM_COLUMNS: Final = {
    column.key: column for column in COLUMNS if column.key in {"purification_gain", "quality_score", "srocc"}
}
_HEADINGS: Final = (
    (
        "worst_gain",
        "worst gain",
        "Mean over images of the highest gain that any attack had on the image, as a share of the scale.",
    ),
    (
        "rank",
        "rank",
        "Rank by worst gain, and the ranks that are possible on other images, all at once in 95 % of samples.",
    ),
    ("strongest", "strongest attack", "The attack with the highest mean gain behind the chain."),
    ("purification_gain", "Gain", _FROM_COLUMNS["purification_gain"].meaning),
    ("quality_score", "Quality", _FROM_COLUMNS["quality_score"].meaning),
    ("srocc", "SROCC", _FROM_COLUMNS["srocc"].meaning),
    ("order_violations", "order violations", "Share of degraded copies that the chain prefers to the original."),
    (
        "rank_inversions",
        "rank inversions",
        "Share of pairs of images, at least a tenth of the scale apart undefended, in which the attacked poor one "
        "outranks the clean better one.",
    ),
    (
        "detection_area",
        "detection",
        "Area under the ROC of the gap undefended less defended score, attacked against clean; 0.5 tells nothing.",
    ),
    ("milliseconds", "ms", "Mean time of one scoring call, in milliseconds."),
)
NUMBERS: Final = tuple(key for key, _, _ in _HEADINGS if key not in {"strongest", "rank"})
"""Keys of the columns that hold numbers."""
_DIGITS: Final = {"milliseconds": 1}
_SHADED: Final = "worst_gain"
_NOTHING: Final = dict.fromkeys(NUMBERS, MISSING) | {"strongest": Cell(), "milliseconds": Cell(plain=math.nan)}
"""The cells of a chain without a record of an attack."""


@dataclass(frozen=True, kw_only=True)
class _Chain:
    """What the attacks on one chain found."""

    records: list[Record]
    numbers: Numbers
    images: Images


def leaderboard(report: Report) -> Table:
    """Return the leaderboard of a report's metric."""
    attacked = _attacked(report)
    images = {chain: found.images for chain, found in attacked.items()}
    ranked = rank_texts(images)
    lines = sorted((_line(report, chain, attacked.get(chain), ranked) for chain in report.metric.chains), key=_place)
    columns = tuple(zip(*(line.cells for line in lines), strict=True))
    return Table(
        key=f"{LEADERBOARD}:{report.metric.name}",
        title=f"Defences of {report.metric_title}, the lowest worst case first",
        about=over_what(report) + pairs_text(images, {chain: report.label(chain) for chain in images}),
        leading=("defence",),
        headings=tuple(
            head(key, label, meaning, cells, least=_DIGITS.get(key, 3), shaded=key == _SHADED)
            for (key, label, meaning), cells in zip(_HEADINGS, columns, strict=True)
        ),
        lines=tuple(lines),
    )


def _attacked(report: Report) -> dict[str, _Chain]:
    found = {}
    for chain in report.metric.chains:
        if records := records_behind(report, chain):
            numbers = numbers_of(report, records)
            found[chain] = _Chain(records=records, numbers=numbers, images=images_of(report, records, numbers))
    return found


def _place(line: Line) -> tuple[bool, float]:
    estimate = line.cells[0].estimate
    value = math.nan if estimate is None else estimate.value
    return not math.isfinite(value), value if math.isfinite(value) else 0.0


def _line(report: Report, chain: str, found: _Chain | None, ranked: Mapping[str, str]) -> Line:
    copies = [record for record in report.degraded if record.chain == chain]
    of_copies = Cell(estimate=violations(report, copies)) if copies else MISSING
    cells = _NOTHING | (_cells(report, chain, found) if found else {})
    cells |= {"order_violations": of_copies, "rank": Cell(text=ranked.get(chain, ""))}
    return Line(
        key=chain, names=(report.label(chain),), cells=tuple(cells[key] for key, _, _ in _HEADINGS), title=chain
    )


def _cells(report: Report, chain: str, found: _Chain) -> dict[str, Cell]:
    records, numbers, images = found.records, found.numbers, found.images
    inversions = rank_inversions(images.clean, images.attacked, images.names, gap=GAP, quality=images.undefended)
    seconds = [record.scoring_seconds for record in records if record.scoring_seconds is not None]
    return {
        "worst_gain": Cell(estimate=worst_gain(report, images)),
        "strongest": Cell(text=_strongest(report, records, numbers)),
        **{key: Cell(estimate=column.compute(numbers)) for key, column in _FROM_COLUMNS.items()},
        "rank_inversions": Cell(estimate=inversions.attacked),
        # Undefended there is no gap to look at.
        "detection_area": MISSING if chain == UNDEFENDED else Cell(estimate=_detection(report, records)),
        "milliseconds": Cell(plain=1000 * float(np.mean(seconds)) if seconds else math.nan),
    }


def _strongest(report: Report, records: Sequence[Record], numbers: Numbers) -> str:
    kinds = Clusters([f"{attack}|{knew}" for attack, knew in map(kind_of_record, records)])
    means = kinds.sums(numbers.v - numbers.u) / kinds.sizes
    if not np.isfinite(means).any():
        return ""
    attack, knew = list(dict.fromkeys(map(kind_of_record, records)))[int(np.nanargmax(means))]
    return report.attack_name(attack) + (", adaptive" if knew else "")


def _detection(report: Report, records: Sequence[Record]) -> Estimate:
    """Estimate the area for gaps in the metric's own units, as the service answers them."""
    sign = 1.0 if report.declared.higher_is_better else -1.0
    clean = [records[index] for index in first_of_each(records)]
    of_clean = np.array([[record.clean_score, record.clean_defended] for record in clean], np.float64)
    of_attacked = np.array([[record.attacked_score, record.attacked_defended] for record in records], np.float64)
    return tampering(
        sign * (of_clean[:, 0] - of_clean[:, 1]),
        sign * (of_attacked[:, 0] - of_attacked[:, 1]),
        [record.unit for record in clean],
        [record.unit for record in records],
    ).area
