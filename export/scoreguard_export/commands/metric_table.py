"""The facts of all metrics: a table for people, and what programs read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format
from rich.table import Table

from scoreguard.v1.archive import archives_in
from scoreguard_export.archive import weights_store
from scoreguard_export.archive.facts import commercial_use_of, declares_half, licence_of, metric_message
from scoreguard_export.metrics.base import Metric, RangeBasis

_FORMATS: Final = ("torchscript", "onnx")
"""Formats that every metric is exported to, by the names of engines in a manifest."""
Parity = Mapping[str, float]
"""Largest difference from the module, by format."""


class Weights(StrEnum):
    """Where the weights of a metric come from."""

    NONE = "none"
    SHIPPED = "shipped"
    FETCHED = "fetched"
    """In the folder of weights."""
    TO_FETCH = "to fetch"
    """By `weights get`."""
    YOURS = "yours"
    """By `weights add` or `--weights`."""


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """A metric, and what was built of it."""

    metric: type[Metric]
    weights: Weights
    parity: Parity | None
    """None if it was not built."""

    def content(self) -> dict[str, Any]:
        """Return all that is known, for programs."""
        facts, commercial = self.metric.facts, commercial_use_of(self.metric)
        message = metric_message(facts, licence_of(self.metric))
        return {
            **json_format.MessageToDict(message, preserving_proto_field_name=True),
            "higher_is_better": facts.higher_is_better,
            "backbone": facts.backbone,
            "range_basis": facts.range_basis,
            "measured_on": facts.measured_on,
            "variants": list(facts.variants),
            "formats": list(_FORMATS),
            "parity_error": dict(self.parity) if self.parity else None,
            "parity_tolerance": facts.parity_tolerance,
            "weights": self.weights,
            "commercial_use": commercial,
            "half_precision": declares_half(self.metric),
        }

    def cells(self) -> list[str]:
        """Return the row of the table."""
        facts, commercial = self.metric.facts, commercial_use_of(self.metric)
        better = "higher" if facts.higher_is_better else "lower"
        on = f" on {facts.measured_on}" if facts.range_basis is RangeBasis.MEASURED else ""
        errors = (f"{name} {error:.1g}" for name, error in (self.parity or {}).items())
        return [
            facts.name,
            "\n".join(filter(None, [facts.backbone, facts.input_rule])),
            f"{facts.score_range.low:g} to {facts.score_range.high:g}, {better} is better\n{facts.range_basis}{on}",
            "\n".join(errors) or "not built",
            self.weights,
            commercial or "–",
        ]


def metric_rows(metrics: Iterable[type[Metric]], model_store: Path | None) -> list[MetricRow]:
    """Return a row for each metric.

    Args:
        metrics: Their classes.
        model_store: A store whose archives say how closely their graphs agree; None = nothing is built.

    Raises:
        IntegrityError: the store has no archive, or one that cannot be read.
    """
    built = (
        {archive.name: archive.manifest.metric.parity for archive in archives_in(model_store)} if model_store else {}
    )
    parities = {
        name: {format: max((c.max_abs_error for c in cases if c.engine == format), default=0.0) for format in _FORMATS}
        for name, cases in built.items()
    }
    return [MetricRow(metric=m, weights=_weights_of(m), parity=parities.get(m.facts.name)) for m in metrics]


def metric_table(rows: Iterable[MetricRow]) -> Table:
    """Return the table for the terminal."""
    table = Table(
        title="Metrics",
        caption="each is exported to TorchScript and ONNX; --model-store shows how closely built graphs agree",
        show_lines=True,
    )
    table.add_column("metric", no_wrap=True)
    table.add_column("network, and how it reads an image", ratio=3)
    table.add_column("range, and what it is", ratio=2)
    for column in ("parity error", "weights"):
        table.add_column(column, no_wrap=True)
    table.add_column("commercial use")
    for row in rows:
        table.add_row(*row.cells())
    return table


def _weights_of(metric: type[Metric]) -> Weights:
    if not metric.sources:
        return Weights.NONE
    missing = [name for name, source in metric.sources.items() if source.shipped is None]
    if not missing:
        return Weights.SHIPPED
    if all(weights_store.found(name) for name in missing):
        return Weights.FETCHED
    return Weights.TO_FETCH if all(metric.sources[name].can_be_fetched for name in missing) else Weights.YOURS
