"""Turn a run directory into a report: tables as CSV, images, and a self-contained page."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

from scoreguard.calibration import Bounds
from scoreguard.score_range import ScoreRange
from scoreguard_client.attacks.auto import Auto
from scoreguard_client.attacks.catalogue import kind_of
from scoreguard_client.campaign.errors import RunError
from scoreguard_client.campaign.external import ExternalRecord
from scoreguard_client.campaign.ledger import Ledger
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.planned_metric import PlannedMetric
from scoreguard_client.campaign.records import Record
from scoreguard_client.campaign.tables import column_name
from scoreguard_client.report.bounds import bounds_for
from scoreguard_client.report.cautions import Evidence, cautions_for
from scoreguard_client.report.columns import Column, columns_for, raw_columns
from scoreguard_client.report.external import counted, external_attacks, over_budget_cautions
from scoreguard_client.report.naming import attack_names
from scoreguard_client.report.numbers import TableOptions
from scoreguard_client.report.table import Row, robustness_table, sound
from scoreguard_client.report.transforms import Transform, domain_words, read_transform
from scoreguard_client.target.people import PeopleScores, people_scores

FOLDER: Final = "report"
"""Folder of a run's report."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Results of a run for one of its metrics."""

    run: Path
    """The run directory."""
    plan: Plan
    """Its plan."""
    metric: PlannedMetric
    """The metric of this table."""
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
    papers: Mapping[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])
    """Paper and year of the metric and the defences as the server told them, by name; empty if the run states none."""
    computation: Mapping[str, Any]
    """Device and settings of local gradients."""
    shown: tuple[str, ...]
    """Names of the images whose PNG files were kept."""
    options: TableOptions
    """Which variants of the scores were computed."""
    records: tuple[Record, ...]
    """Every record of the metric."""
    rows: tuple[Row, ...]
    """The table, in the order of the plan."""
    cautions: tuple[str, ...]
    """Caveats about the table."""
    labels: dict[str, str]
    """Chains as the user wrote them, by their full text form."""
    names: dict[str, str]
    """Attacks in prose, by their text form."""
    people: PeopleScores | None = None
    """What people said of the images; None if nobody was asked."""

    @cached_property
    def attacked(self) -> tuple[Record, ...]:
        """The records of attacks that did not fail."""
        return tuple(record for record in self.records if not record.error and not is_degradation(record.attack))

    @cached_property
    def degraded(self) -> tuple[Record, ...]:
        """The records of degraded copies that did not fail."""
        return tuple(record for record in self.records if not record.error and is_degradation(record.attack))

    @property
    def scale(self) -> ScoreRange:
        """What scores are scaled by before any transform; its direction is the metric's."""
        if self.transform is not None:
            return self.declared
        better = self.declared.higher_is_better
        return ScoreRange(low=self.bounds.low, high=self.bounds.high, higher_is_better=better)

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
        if not self.metric.gradients.startswith("local:"):
            return ""
        known = self.computation
        software = [f"{title} {known[key]}" for key, title in (("cuda", "CUDA"), ("cudnn", "cuDNN")) if key in known]
        without = ", ".join(known.get("unrepeatable", ()))
        return ", ".join([self.plan.computation, *software]) + (
            f"; without a repeatable kernel: {without}" * bool(without)
        )

    @property
    def folder(self) -> Path:
        """Folder of the report's files; each of several metrics has its own."""
        whole = self.run / FOLDER
        return whole / self.metric.name if len(self.plan.metrics) > 1 else whole

    def to_json(self) -> dict[str, Any]:
        """Return the table in machine-readable form; numbers without a value are null."""
        return {
            "run": str(self.run),
            "plan_sha256": self.plan.digest,
            "metric": self.metric.name,
            "computation": dict(self.computation),
            "scaling": self.options.scaling.value,
            "bounds": asdict(self.bounds),
            "r_mode": self.options.r_mode.value,
            "domain_transform": self.transform.facts() if self.transform else None,
            "rows": [_finite(asdict(row)) for row in self.rows],
            "cautions": list(self.cautions),
        }


def read_reports(run: Path, options: TableOptions) -> tuple[Report, ...]:
    """Read a run and compute the table of each of its metrics.

    Raises:
        RunError: the directory holds no readable run, or one without records.
    """
    with Ledger.open(run) as ledger:
        plan, facts, records = ledger.plan, ledger.facts, [sound(record) for record in ledger.records()]
        external = ledger.external()
    if not records:
        raise RunError(f"{run} holds no records yet; run scoreguard attack first")
    by_metric: dict[str, list[Record]] = {}
    for record in [*records, *map(sound, counted(external))]:
        by_metric.setdefault(record.metric, []).append(record)
    return tuple(
        _report(run, plan, metric, facts, by_metric[metric.name], external, options)
        for metric in plan.metrics
        if metric.name in by_metric
    )


def read_report(run: Path, options: TableOptions) -> Report:
    """Read a run of one metric and compute its table.

    Raises:
        RunError: the directory holds no readable run, or one without records, or one of several metrics.
    """
    found = read_reports(run, options)
    match found:
        case (report,):
            return report
        case _:
            names = ", ".join(report.metric.name for report in found)
            raise RunError(f"{run} has several metrics ({names}): each has its own table, see read_reports")


def _report(
    run: Path,
    plan: Plan,
    metric: PlannedMetric,
    facts: Mapping[str, Any],
    records: Sequence[Record],
    external: Sequence[ExternalRecord],
    options: TableOptions,
) -> Report:
    known, declared, elsewhere = facts["metrics"][metric.name], metric.declared, external_attacks(records)
    names = attack_names([*plan.attacks, *elsewhere])
    deployed = Bounds(**known["calibration"]) if known["calibration"] else None
    wanted, better = options.domain_transform, declared.higher_is_better
    transform = read_transform(wanted, metric.name, higher_is_better=better) if wanted else None
    bounds = bounds_for(metric.name, declared, options, deployed, transform)
    rows = rows_of(plan, metric, records, bounds, options, transform)
    evidence = Evidence(
        rows=rows,
        records=records,
        declared=declared,
        plan=plan,
        chains=metric.chains,
        expected=known["expected"] + sum(record.attack in elsewhere for record in records),
        labels=known["labels"],
        names=names,
        rounding=known["rounding"],
    )
    return Report(
        run=run,
        plan=plan,
        metric=metric,
        metric_title=known["title"] or metric.name,
        declared=declared,
        bounds=bounds,
        transform=transform,
        transfer=known["transfer"],
        server_version=facts["server_version"],
        papers={name: (paper, year) for name, (paper, year) in known.get("papers", {}).items()},
        computation=facts["computation"],
        shown=tuple(facts["shown"]),
        options=options,
        records=tuple(records),
        rows=rows,
        cautions=(*cautions_for(evidence), *over_budget_cautions(external, metric.name)),
        labels=known["labels"],
        names=names,
        people=people_scores(facts),
    )


def rows_of(
    plan: Plan,
    metric: PlannedMetric,
    records: Sequence[Record],
    bounds: Bounds,
    options: TableOptions,
    transform: Transform | None,
) -> tuple[Row, ...]:
    """Compute the rows of a metric from its records, in the order of the plan."""
    declared = metric.declared
    scale = ScoreRange(low=bounds.low, high=bounds.high, higher_is_better=declared.higher_is_better)
    columns = _columns(plan, declared, transform)
    of_attacks = [record for record in records if not is_degradation(record.attack)]
    table = robustness_table(of_attacks, declared if transform else scale, options, columns, transform)
    attacks = [*plan.attacks, *external_attacks(records)]
    return tuple(sorted(table, key=lambda row: _place(attacks, metric, row)))


def _columns(plan: Plan, declared: ScoreRange, transform: Transform | None) -> tuple[Column, ...]:
    return (*columns_for(plan), *(raw_columns(declared) if transform else ()))


def write_tables(report: Report) -> None:
    """Write `table.csv` and `records.csv`; a missing number leaves its cell empty."""
    write_tables_of([report], report.folder)


def write_tables_of(reports: Sequence[Report], folder: Path) -> None:
    """Write both tables of several metrics of a run into one folder."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = reports[0].columns
    lines = ([report.metric.name, *_table_line(row, columns)] for report in reports for row in report.rows)
    write_csv(folder / "table.csv", _table_heading(columns), lines)
    names = [column_name(field.name) for field in fields(Record)]
    records = (astuple(record) for report in reports for record in report.records)
    write_csv(folder / "records.csv", names, records)


@lru_cache
def is_degradation(attack: str) -> bool:
    """Whether this is no attack but a degraded copy, from its text form."""
    return kind_of(attack).is_degradation


def _place(attacks: Sequence[str], metric: PlannedMetric, row: Row) -> tuple[bool, int, int, bool]:
    """Put the strongest known attack first, and the one that knew the chain above its twin that did not.

    A defence is only as good as against those.
    """
    follows = kind_of(row.attack) is not Auto
    return follows, attacks.index(row.attack), metric.chains.index(row.chain), not row.adaptive


def _table_heading(columns: Sequence[Column]) -> list[str]:
    scores = [f"{column.key}{end}" for column in columns for end in ("", "_low", "_high")]
    return ["metric", "attack", "chain", "adaptive", "images", "records", "failed", "queries", *scores]


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
