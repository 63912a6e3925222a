"""The robustness table: a line for each attack and chain, and whether the attack knew the chain."""

from __future__ import annotations

from typing import Final

from scoreguard_client.report.build import Report
from scoreguard_client.report.naming import attack_text
from scoreguard_client.report.table import Row
from scoreguard_client.report.tables.model import SEPARATOR, Cell, Heading, Line, Table
from scoreguard_client.report.tables.results import MISSING

ADAPTIVE: Final = "adaptive"
UNAWARE: Final = "unaware"
_SHADED: Final = frozenset({"absolute_gain", "absolute_gain_8bit", "relative_gain", "absolute_gain_raw"})
_COUNTS: Final = (
    Heading(key="queries", label="queries", meaning="Questions asked about an image, mean.", digits=0),
    Heading(key="images", label="n", meaning="Images with a record that did not fail.", digits=0),
    Heading(key="failed", label="failed", meaning="Records that failed; no number includes them.", digits=0),
)


def robustness(report: Report) -> Table:
    """Return the table of a report's rows."""
    heads = tuple(
        Heading(
            key=column.key,
            label=column.label,
            meaning=column.meaning,
            digits=report.decimals(column),
            shaded=column.key in _SHADED,
        )
        for column in report.columns
    )
    return Table(
        key=f"robustness:{report.metric.name}",
        title=f"Robustness of {report.metric_title}",
        about="Each attack behind each defence; where an attack also knew the defence, that line stands first.",
        leading=("attack", "defence"),
        headings=(*heads, *_COUNTS),
        lines=tuple(_line(report, row) for row in report.rows),
    )


def key_of(row: Row) -> str:
    """Return the key of a row's line."""
    return SEPARATOR.join([row.attack, row.chain, ADAPTIVE if row.adaptive else UNAWARE])


def _line(report: Report, row: Row) -> Line:
    estimates = (row.scores.get(column.key) for column in report.columns)
    cells = (MISSING if estimate is None else Cell(estimate=estimate) for estimate in estimates)
    return Line(
        key=key_of(row),
        names=(report.attack_name(row.attack), report.label(row.chain)),
        cells=(*cells, *(Cell(plain=count) for count in (row.queries, float(row.images), float(row.failed)))),
        tags=(ADAPTIVE,) if row.adaptive else (),
        title=f"{attack_text(row.attack)} behind {row.chain}",
    )
