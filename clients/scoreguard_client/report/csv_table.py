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
from scoreguard_client.report.errors import TableError
from scoreguard_client.report.numbers import TableOptions
from scoreguard_client.report.table import Row, table_row
from scoreguard_client.report.transforms import Transform, domain_words, read_transform
from scoreguard_client.scores.scaling import Scaling

GROUPS: Final = ("test_dataset", "attack", "chain", "adaptive")
"""Columns whose values make a row each, as far as a table has them."""
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
class CsvOptions:
    """How tables are read."""

    metric: str = ""
    """The metric; empty = that of the column `metric`, or of the files' names."""
    range: ScoreRange | None = None
    """The metric's range and direction; None = its clean scores, and the direction of the column `lower_better`."""
    by: tuple[str, ...] | None = None
    """Columns whose values make a row each; empty = one row of everything, None = those of `GROUPS` that are there."""
    where: tuple[tuple[str, str], ...] = ()
    """Columns and the value that lines must have there."""


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
    entries = _chosen(read_entries(paths, table.metric), table)
    metric = _metric(entries, table)
    higher, wanted = _higher_is_better(entries, table), options.domain_transform
    transform = read_transform(wanted, metric, higher_is_better=higher) if wanted else None
    if higher is None:
        higher = transform.source_is_higher_better if transform else True
    declared = table.range or _clean_range(entries, higher_is_better=higher)
    if table.range is None and transform is None and options.scaling is Scaling.DECLARED_RANGE:
        raise TableError(
            "a table states no range to scale scores by: give --range WORST,BEST, or --scaling clean_selection"
        )
    bounds = bounds_for(metric, declared, options, transform=transform)
    scale = ScoreRange(low=bounds.low, high=bounds.high, higher_is_better=declared.higher_is_better)
    by = _by(entries, table)
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
        cautions=tuple(_cautions(entries, rows)),
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


def _chosen(entries: Sequence[Entry], table: CsvOptions) -> list[Entry]:
    there = _names(entries)
    for column, value in table.where:
        _require(column, there)
        entries = [entry for entry in entries if entry.labels.get(column, "") == value]
        if not entries:
            raise TableError(f"no line has {value} in the column {column}")
    if table.metric and any(entry.labels["metric"] == table.metric for entry in entries):
        return [entry for entry in entries if entry.labels["metric"] == table.metric]
    return list(entries)


def _names(entries: Sequence[Entry]) -> list[str]:
    return list(dict.fromkeys(name for entry in entries for name in entry.labels))


def _require(column: str, there: Sequence[str]) -> None:
    if column not in there:
        raise TableError(f"no table has a column {column}, only {', '.join(there)}")


def _metric(entries: Sequence[Entry], table: CsvOptions) -> str:
    there = sorted({entry.labels["metric"] for entry in entries})
    if len(there) > 1:
        raise TableError(f"the tables have scores of {', '.join(name or 'no name' for name in there)}: give --metric")
    if table.metric and there != [table.metric]:
        raise TableError(f"the tables have no scores of {table.metric}, only of {there[0]}")
    return there[0]


def _higher_is_better(entries: Sequence[Entry], table: CsvOptions) -> bool | None:
    """Return the metric's direction; None if neither the options nor the tables state one."""
    stated = {not entry.lower_is_better for entry in entries if entry.lower_is_better is not None}
    if table.range is not None:
        stated.add(table.range.higher_is_better)
    if len(stated) > 1:
        raise TableError("the column lower_better has both values, or another than --range WORST,BEST says")
    return next(iter(stated), None)


def _clean_range(entries: Sequence[Entry], *, higher_is_better: bool) -> ScoreRange:
    clean = [entry.record.clean_defended for entry in entries if entry.record.clean_defended is not None]
    if not clean:
        raise TableError("every line of the tables states an error")
    if min(clean) == max(clean):
        raise TableError(f"every clean score is {clean[0]:g}, which is no range: give --range WORST,BEST")
    return ScoreRange(low=min(clean), high=max(clean), higher_is_better=higher_is_better)


def _by(entries: Sequence[Entry], table: CsvOptions) -> tuple[str, ...]:
    there = _names(entries)
    for name in table.by or ():
        _require(name, there)
    return tuple(name for name in GROUPS if name in there) if table.by is None else table.by


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


def _cautions(entries: Sequence[Entry], rows: Sequence[Row]) -> Iterator[str]:
    if failed := sum(row.failed for row in rows):
        yield f"Lines that state an error, and are in no number: {failed}."
    seen = Counter(_identity(entry.labels) for entry in entries)
    if repeated := sum(count - 1 for count in seen.values()):
        yield f"Lines that repeat the image, attack and chain of another, and count like it: {repeated}."


def _identity(labels: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(labels.get(name, "") for name in IDENTITY)
