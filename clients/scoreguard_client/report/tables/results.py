"""What a chain's records say of each image: the highest gain of any attack, and the clean image's scores.

An attack's gain on an image is the mean over its draws first, so that no lucky draw of a random defence counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from scoreguard_client.campaign.records import Record
from scoreguard_client.report.build import Report
from scoreguard_client.report.digits import decimals_of_column
from scoreguard_client.report.numbers import Numbers
from scoreguard_client.report.tables.model import Cell, Heading
from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.estimates import Estimate, mean_estimate
from scoreguard_client.scores.scaling import Values, scale_pair

Kind = tuple[str, bool]
"""An attack in its text form, and whether it knew the chain."""

MISSING = Cell(estimate=Estimate(value=float("nan")))
"""A cell for which there is nothing to count."""


@dataclass(frozen=True, kw_only=True)
class Images:
    """One number for each image of a chain: (images,) each, in the order of the records."""

    names: tuple[str, ...]
    """The images."""
    gain: Values
    """Highest gain v - u that any attack had on it; with several draws an attack's mean over them."""
    attacked: Values
    """Highest scaled attacked score v of any attack, likewise."""
    clean: Values
    """Scaled clean score u that the service answers, the mean over draws."""
    undefended: Values
    """Scaled clean score of the metric alone."""


def numbers_of(report: Report, records: Sequence[Record]) -> Numbers:
    """Return records as arrays, scaled as the report's rows are; at least one record."""
    return Numbers(records, report.scale, report.options, report.transform)


def records_behind(report: Report, chain: str) -> list[Record]:
    """Return the records of attacks behind a chain that did not fail."""
    return [record for record in report.attacked if record.chain == chain]


def images_of(report: Report, records: Sequence[Record], numbers: Numbers) -> Images:
    """Summarise each image of one chain.

    Args:
        report: where the records are from.
        records: at least one.
        numbers: the same records as arrays.
    """
    owners, count = numbers.images.owners, numbers.images.count
    kinds = {kind: index for index, kind in enumerate(dict.fromkeys(map(kind_of_record, records)))}
    cells = owners * len(kinds) + np.array([kinds[kind_of_record(record)] for record in records])

    def highest(values: Values) -> Values:
        size = count * len(kinds)
        rows = np.bincount(cells, minlength=size)
        sums = np.bincount(cells, weights=values, minlength=size)
        means = np.where(rows > 0, sums / np.maximum(rows, 1), -np.inf)
        return np.asarray(means.reshape(count, len(kinds)).max(axis=1))

    first = first_of_each(records)
    clean, undefended = scale_pair(
        numbers.clean_defended,
        numbers.clean,
        report.transform.range if report.transform else report.scale,
        report.options.scaling,
    )

    def mean(values: Values) -> Values:
        rows = np.bincount(owners[first], minlength=count)
        return np.asarray(np.bincount(owners[first], weights=values[first], minlength=count) / rows)

    return Images(
        names=tuple(dict.fromkeys(record.unit for record in records)),
        gain=highest(numbers.v - numbers.u),
        attacked=highest(numbers.v),
        clean=mean(clean),
        undefended=mean(undefended),
    )


def worst_gain(report: Report, images: Images) -> Estimate:
    """Estimate the mean over images of the highest gain."""
    return mean_estimate(images.gain, Clusters(images.names, resamples=report.options.resamples))


def kind_of_record(record: Record) -> Kind:
    """Return which attack a record is of, and whether it knew the chain."""
    return record.attack, record.adaptive


def first_of_each(records: Sequence[Record]) -> list[int]:
    """Return where the first record of each image and draw is: these have the clean scores once."""
    places: dict[tuple[str, int], int] = {}
    for index, record in enumerate(records):
        places.setdefault((record.image, record.draw), index)
    return list(places.values())


def head(key: str, label: str, meaning: str, cells: Iterable[Cell], *, least: int = 3, shaded: bool = False) -> Heading:
    """Return the head of a column with the digits that its cells need."""
    values = (cell.estimate.value for cell in cells if cell.estimate is not None)
    return Heading(key=key, label=label, meaning=meaning, digits=decimals_of_column(values, least), shaded=shaded)
