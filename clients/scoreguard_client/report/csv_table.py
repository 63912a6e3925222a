"""The robustness table of attacks that others ran: from their CSV files instead of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from scoreguard.calibration import Bounds
from scoreguard.score_range import ScoreRange
from scoreguard_client.campaign.records import Record
from scoreguard_client.report.bounds import bounds_for
from scoreguard_client.report.build import score_cells, write_csv
from scoreguard_client.report.columns import COLUMNS, Column, raw_columns
from scoreguard_client.report.csv_records import IDENTITY, Entry, read_entries
from scoreguard_client.report.csv_selection import (
    CsvOptions,
    by_of,
    chosen,
    clean_range_of,
    higher_is_better_of,
    metric_of,
    of_attacks,
)
from scoreguard_client.report.errors import TableError
from scoreguard_client.report.numbers import TableOptions
from scoreguard_client.report.table import Row, table_row
from scoreguard_client.report.transforms import Transform, domain_words, read_transform
from scoreguard_client.scores.scaling import Scaling

_ALL: Final = "all"
_INPUTS: Final = {
    "absolute_gain_8bit": "attacked_defended_8bit",
    "purification_gain": "clean_score",
    "quality_score": "purified_ssim",
    "srocc": "clean_score",
    "psnr": "psnr",
    "ssim": "ssim",
}
"""What a column of ours needs that a table may lack."""


@dataclass(frozen=True, kw_only=True)
class CsvReport:
    """The table of files that were made elsewhere."""

    files: tuple[Path, ...]
    metric: str
    declared: ScoreRange
    """The metric's range, or that of all clean scores; with the metric's direction."""
    bounds: Bounds
    """What scores are scaled by, and where it is from."""
    transform: Transform | None
    """The map that was applied to the scores first."""
    options: TableOptions
    columns: tuple[Column, ...]
    by: tuple[str, ...]
    """Columns of the files whose values make a row each."""
    groups: tuple[tuple[str, ...], ...]
    """Those values, for each row."""
    rows: tuple[Row, ...]
    """The table, in the order of the files."""
    cautions: tuple[str, ...]
    """Caveats about the table."""

    @property
    def metric_title(self) -> str:
        """Name of the metric in the table's title."""
        return self.metric or "unnamed metric"

    @property
    def domain(self) -> str:
        """The reference metric that scores were mapped onto, in words; empty if they were not."""
        return domain_words(self.transform)

    @property
    def scale(self) -> ScoreRange:
        """Range of the scores in the table."""
        return self.transform.range if self.transform else self.declared

    def label(self, chain: str) -> str:
        """Return a chain as the files have it."""
        return chain

    def attack_name(self, attack: str) -> str:
        """Return the name of a row: the attack, with what else its rows are grouped by."""
        return attack

    def decimals(self, column: Column) -> int:
        """Return the digits after the point of a column in tables for people."""
        return column.decimals(self.scale, (row.scores.get(column.key) for row in self.rows))

    def to_json(self) -> dict[str, Any]:
        """Return the table in machine-readable form."""
        return {
            "files": [str(path) for path in self.files],
            "metric": self.metric,
            "scaling": self.options.scaling.value,
            "bounds": asdict(self.bounds),
            "higher_is_better": self.scale.higher_is_better,
            "r_mode": self.options.r_mode.value,
            "domain_transform": self.transform.facts() if self.transform else None,
            "rows": [
                {"group": dict(zip(self.by, group, strict=True)), **asdict(row)}
                for group, row in zip(self.groups, self.rows, strict=True)
            ],
            "cautions": list(self.cautions),
        }


def read_csv_report(paths: Sequence[Path], table: CsvOptions, options: TableOptions) -> CsvReport:
    """Read tables and compute theirs.

    Raises:
        TableError: a file is not such a table, or what was asked for is not in it.
        RunError: there are no bounds to scale by, or no transform of this metric.
    """
    every = chosen(read_entries(paths, table.metric), table)
    entries = of_attacks(every)
    metric = metric_of(entries, table)
    higher, wanted = higher_is_better_of(entries, table), options.domain_transform
    transform = read_transform(wanted, metric, higher_is_better=higher) if wanted else None
    if higher is None:
        higher = transform.source_is_higher_better if transform else True
    declared = table.range or clean_range_of(entries, higher_is_better=higher)
    if table.range is None and transform is None and options.scaling is Scaling.DECLARED_RANGE:
        raise TableError(
            "a table states no range to scale scores by: give --range WORST,BEST, or --scaling clean_selection"
        )
    bounds = bounds_for(metric, declared, options, transform=transform)
    scale = ScoreRange(low=bounds.low, high=bounds.high, higher_is_better=declared.higher_is_better)
    by = by_of(entries, table)
    groups: dict[tuple[str, ...], list[Record]] = {}
    for entry in entries:
        groups.setdefault(tuple(entry.labels.get(name, "") for name in by), []).append(entry.record)
    columns = _columns(entries, declared, transform)
    rows = [
        table_row(_key(by, group), records, declared if transform else scale, options, columns, transform)
        for group, records in groups.items()
    ]
    return CsvReport(
        files=tuple(paths),
        metric=metric,
        declared=declared,
        bounds=bounds,
        transform=transform,
        options=options,
        columns=columns,
        by=by,
        groups=tuple(groups),
        rows=tuple(rows),
        cautions=tuple(_cautions(entries, rows, len(every) - len(entries))),
    )


def write_csv_table(report: CsvReport, path: Path) -> None:
    """Write the table: the columns that make rows, counts, and each number with its interval.

    Raises:
        TableError: it cannot be written.
    """
    scores = [f"{column.key}{end}" for column in report.columns for end in ("", "_low", "_high")]
    lines = (
        [*group, row.images, row.records, row.failed, *score_cells(row, report.columns)]
        for group, row in zip(report.groups, report.rows, strict=True)
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_csv(path, [*report.by, "images", "records", "failed", *scores], lines)
    except OSError as error:
        raise TableError(f"{path} cannot be written: {error}") from error


def _key(by: Sequence[str], group: Sequence[str]) -> tuple[str, str, bool]:
    values = dict(zip(by, group, strict=True))
    chain, adaptive = values.pop("chain", _ALL), values.pop("adaptive", "") == "yes"
    return " ".join(filter(None, values.values())) or _ALL, chain, adaptive


def _columns(entries: Sequence[Entry], declared: ScoreRange, transform: Transform | None) -> tuple[Column, ...]:
    there = {name for name in _INPUTS.values() if any(getattr(entry.record, name) is not None for entry in entries)}
    drawn = any(entry.record.draw for entry in entries)
    ours = (
        column
        for column in COLUMNS
        if _INPUTS.get(column.key, "") in {"", *there} and (drawn or column.key != "draw_spread")
    )
    return (*ours, *(raw_columns(declared) if transform else ()))


def _cautions(entries: Sequence[Entry], rows: Sequence[Row], copies: int) -> Iterator[str]:
    if copies:
        yield f"Lines of degraded copies, which are no attacks and in no row: {copies}."
    if failed := sum(row.failed for row in rows):
        yield f"Lines that state an error, and are in no number: {failed}."
    seen = Counter(_identity(entry.labels) for entry in entries)
    if repeated := sum(count - 1 for count in seen.values()):
        yield f"Lines that repeat the image, attack and chain of another, and count like it: {repeated}."


def _identity(labels: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(labels.get(name, "") for name in IDENTITY)
