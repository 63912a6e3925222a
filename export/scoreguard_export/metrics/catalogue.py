"""Every metric by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scoreguard.catalogue import UnknownNameError
from scoreguard_export.errors import WeightsError
from scoreguard_export.metrics import cnniqa, lite, nima, niqe
from scoreguard_export.metrics.base import Metric, MetricFacts
from scoreguard_export.weights.checkpoints import advice


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """A metric that can be built."""

    facts: MetricFacts
    metric: type[Metric]
    """The class whose `from_weights` builds it."""


CATALOGUE: dict[str, CatalogueEntry] = {
    entry.facts.name: entry
    for entry in (
        CatalogueEntry(facts=lite.FACTS, metric=lite.Lite),
        CatalogueEntry(facts=cnniqa.FACTS, metric=cnniqa.CnnIqa),
        CatalogueEntry(facts=nima.FACTS, metric=nima.Nima),
        CatalogueEntry(facts=nima.AESTHETIC_FACTS, metric=nima.Nima),
        CatalogueEntry(facts=niqe.FACTS, metric=niqe.Niqe),
    )
}


def metric_named(name: str) -> CatalogueEntry:
    """The entry of a name.

    Raises:
        UnknownNameError: the catalogue has no such metric; the message lists near names.
    """
    if name not in CATALOGUE:
        raise UnknownNameError("metric", name, list(CATALOGUE))
    return CATALOGUE[name]


def load_metric(name: str, weights: Path | None = None) -> Metric:
    """A metric in evaluation mode, from the weights given or, without any, from the shipped ones.

    Raises:
        UnknownNameError: the catalogue has no such metric.
        WeightsError: nothing is shipped for it, or the file is not its checkpoint.
    """
    entry = metric_named(name)
    path = weights or entry.facts.weights.shipped
    if path is None:
        raise WeightsError(f"the weights of {name} are not shipped: {advice(name, entry.facts.weights)}")
    return entry.metric.from_weights(path, entry.facts)
