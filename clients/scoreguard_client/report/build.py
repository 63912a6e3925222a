"""Turn a run directory into a report: tables as CSV, images, and a self-contained page."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

from scoreguard.calibration import Bounds
from scoreguard.score_range import ScoreRange
from scoreguard_client.attacks.auto import Auto
from scoreguard_client.attacks.catalogue import kind_of
from scoreguard_client.campaign.errors import RunError
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.records import Record
from scoreguard_client.campaign.store import Store, column_name
from scoreguard_client.report.bounds import bounds_for
from scoreguard_client.report.cautions import Evidence, cautions_for
from scoreguard_client.report.columns import Column, columns_for, raw_columns
from scoreguard_client.report.naming import attack_names
from scoreguard_client.report.numbers import TableOptions
from scoreguard_client.report.table import Row, robustness_table, sound
from scoreguard_client.report.transforms import Transform, domain_words, read_transform


@dataclass(frozen=True, kw_only=True)
class Report:
    """Results of a run."""

    run: Path
    """The run directory."""
    plan: Plan
    """Its plan."""
    metric_title: str
    """The metric's name in prose."""
    declared: ScoreRange
    """The metric's range and direction."""
    bounds: Bounds
    """What scores are scaled by, and where it is from."""
    transform: Transform | None = None
    """The map that was applied to the scores of the table first."""
    transfer: bool
    """Whether gradients came from a metric other than the attacked one."""
    server_version: str
    """Version of the server software."""
    computation: Mapping[str, Any]
    """Device and settings of local gradients; empty if the run was stored before they were recorded."""
    shown: tuple[str, ...]
    """Names of the images whose PNG files were kept."""
    options: TableOptions
    """Which variants of the scores were computed."""
    records: tuple[Record, ...]
    """Every record."""
    rows: tuple[Row, ...]
    """The table, in the order of the plan."""
    cautions: tuple[str, ...]
    """Caveats about the table."""
    labels: dict[str, str]
    """Chains as the user wrote them, by their full text form."""
    names: dict[str, str]
    """Attacks in prose, by their text form."""

    def label(self, chain: str) -> str:
        """Return a chain as the user wrote it."""
        return self.labels.get(chain, chain)

    def attack_name(self, attack: str) -> str:
        """Return an attack's name in prose."""
        return self.names[attack]

    def decimals(self, column: Column) -> int:
        """Return the digits after the point of a column in tables for people."""
        scale = self.transform.range if self.transform else self.declared
        return column.decimals(scale, (row.scores.get(column.key) for row in self.rows))

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of its tables."""
        return _columns(self.plan, self.declared, self.transform)

    @property
    def domain(self) -> str:
        """The reference metric that scores were mapped onto, in words; empty if they were not."""
        return domain_words(self.transform)

    @property
    def device(self) -> str:
        """Device and settings of local gradients in words; empty if no gradient is local."""
        if not self.plan.gradients.startswith("local:"):
            return ""
        known = self.computation
        software = [f"{title} {known[key]}" for key, title in (("cuda", "CUDA"), ("cudnn", "cuDNN")) if key in known]
        without = ", ".join(known.get("unrepeatable", ()))
        return ", ".join([self.plan.computation, *software]) + (
            f"; without a repeatable kernel: {without}" * bool(without)
        )

    @property
    def folder(self) -> Path:
        """Folder of the report's files."""
        return self.run / "report"

    def to_json(self) -> dict[str, Any]:
        """Return the table in machine-readable form; numbers without a value are null."""
        return {
            "run": str(self.run),
            "plan_sha256": self.plan.digest,
            "metric": self.plan.metric,
            "computation": dict(self.computation),
            "scaling": self.options.scaling.value,
            "bounds": asdict(self.bounds),
            "r_mode": self.options.r_mode.value,
            "domain_transform": self.transform.facts() if self.transform else None,
            "rows": [_finite(asdict(row)) for row in self.rows],
            "cautions": list(self.cautions),
        }


def read_report(run: Path, options: TableOptions) -> Report:
    """Read a run and compute its table.

    Raises:
        RunError: the directory holds no readable run, or one without records.
    """
    with Store.open(run) as store:
        plan, facts, records = store.plan, store.facts, [sound(record) for record in store.records()]
    if not records:
        raise RunError(f"{run} holds no records yet; run scoreguard attack first")
    metric = facts["metric"]
    declared = ScoreRange(
        low=metric["range_low"], high=metric["range_high"], higher_is_better=metric["higher_is_better"]
    )
    names = attack_names(plan.attacks)
    calibration = metric.get("calibration")  # missing in runs of earlier versions
    deployed = Bounds(**calibration) if calibration else None
    wanted = options.domain_transform
    better = declared.higher_is_better
    transform = read_transform(wanted, metric["name"], higher_is_better=better) if wanted else None
    bounds = bounds_for(metric["name"], declared, options, deployed, transform)
    scale = ScoreRange(low=bounds.low, high=bounds.high, higher_is_better=declared.higher_is_better)
    columns = _columns(plan, declared, transform)
    table = robustness_table(records, declared if transform else scale, options, columns, transform)
    rows = sorted(table, key=lambda row: _place(plan, row))
    evidence = Evidence(
        rows=rows,
        records=records,
        declared=declared,
        plan=plan,
        expected=facts["expected"],
        labels=facts["labels"],
        names=names,
        rounding=facts.get("rounding", ()),  # missing in runs of earlier versions
    )
    return Report(
        run=run,
        plan=plan,
        metric_title=metric["title"] or metric["name"],
        declared=declared,
        bounds=bounds,
        transform=transform,
        transfer=facts["transfer"],
        server_version=facts["server_version"],
        computation=facts.get("computation", {}),  # missing in runs of earlier versions
        shown=tuple(facts["shown"]),
        options=options,
        records=tuple(records),
        rows=tuple(rows),
        cautions=tuple(cautions_for(evidence)),
        labels=facts["labels"],
        names=names,
    )


def _columns(plan: Plan, declared: ScoreRange, transform: Transform | None) -> tuple[Column, ...]:
    return (*columns_for(plan), *(raw_columns(declared) if transform else ()))


def write_tables(report: Report) -> None:
    """Write `table.csv` and `records.csv`; a missing number leaves its cell empty."""
    report.folder.mkdir(parents=True, exist_ok=True)
    lines = (_table_line(row, report.columns) for row in report.rows)
    write_csv(report.folder / "table.csv", _table_heading(report.columns), lines)
    names = [column_name(field.name) for field in fields(Record)]
    write_csv(report.folder / "records.csv", names, (astuple(record) for record in report.records))


def _place(plan: Plan, row: Row) -> tuple[bool, int, bool, int]:
    """Put the strongest known attack first: a defence is only as good as against that one."""
    follows = kind_of(row.attack) is not Auto
    return follows, plan.attacks.index(row.attack), row.adaptive, plan.chains.index(row.chain)


def _table_heading(columns: Sequence[Column]) -> list[str]:
    scores = [f"{column.key}{end}" for column in columns for end in ("", "_low", "_high")]
    return ["attack", "chain", "adaptive", "images", "records", "failed", "queries", *scores]


def _table_line(row: Row, columns: Sequence[Column]) -> list[object]:
    adaptive = "yes" if row.adaptive else "no"
    counts = [row.images, row.records, row.failed, row.queries]
    return [row.attack, row.chain, adaptive, *counts, *score_cells(row, columns)]


def score_cells(row: Row, columns: Sequence[Column]) -> list[object]:
    """Return the numbers of a row for a CSV file: value and both ends of the interval, column by column."""
    estimates = [row.scores.get(column.key) for column in columns]
    return [number for e in estimates for number in ((e.value, e.low, e.high) if e else ("", "", ""))]


def write_csv(path: Path, heading: Sequence[str], lines: Iterable[Iterable[object]]) -> None:
    """Write a CSV file; a number that is not finite leaves its cell empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(heading)
        writer.writerows([_or_empty(cell) for cell in line] for line in lines)


def _or_empty(cell: object) -> object:
    return "" if isinstance(cell, float) and not math.isfinite(cell) else cell


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    # JSON has neither NaN nor infinity.
    return None if isinstance(value, float) and not math.isfinite(value) else value
