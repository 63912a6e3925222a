"""Domain transforms in a page: a fitted map as it is; a published network by what it made of the run's scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from scoreguard.score_range import ScoreRange
from scoreguard_client.campaign.records import Record
from scoreguard_client.report.proof.errors import PageError
from scoreguard_client.report.transforms import Transform
from scoreguard_client.scores.domain_transform import DomainTransform, Sample
from scoreguard_client.scores.scaling import Values

SCORES: Final = (
    "clean_score",
    "clean_defended",
    "attacked_score",
    "attacked_defended",
    "attacked_score_8bit",
    "attacked_defended_8bit",
)
"""The columns of records that a transform is applied to."""


@dataclass(frozen=True, kw_only=True)
class LookedUp:
    """A map of which only some values are known: what a network made of a run's scores."""

    range: ScoreRange
    """Range and direction of the reference."""
    source_is_higher_better: bool
    """Direction of the metric that is mapped."""
    reference_name: str
    """Name of the reference."""
    origin: str
    """Where the map is from, in a few words."""
    known: Mapping[str, Any]
    """What a report says about the map."""
    scores: tuple[float, ...]
    """Scores of the metric, all different."""
    mapped: tuple[float, ...]
    """What each maps to."""

    def apply(self, scores: Values) -> Values:
        """Map scores: (N,).

        Raises:
            PageError: a score is none of those known.
        """
        try:
            return np.array([self._table[score] for score in np.asarray(scores, np.float64).tolist()])
        except KeyError as error:
            raise PageError(f"the page does not say what {error} maps to") from error

    def facts(self) -> dict[str, Any]:
        """Return what a report says about the map, as JSON."""
        return dict(self.known)

    @cached_property
    def _table(self) -> dict[float, float]:
        return dict(zip(self.scores, self.mapped, strict=True))


def written_map(transform: Transform | None, records: Sequence[Record]) -> dict[str, Any] | None:
    """Return a transform as JSON: its `pairs`, or what it was `transformed_by` and each score that it met."""
    if transform is None:
        return None
    if isinstance(transform, DomainTransform):
        return {"pairs": asdict(transform)}
    met = {getattr(record, name) for record in records if not record.error for name in SCORES}
    scores = np.array(sorted(met), dtype=np.float64)
    told = {
        "range": asdict(transform.range),
        "source_is_higher_better": transform.source_is_higher_better,
        "reference_name": transform.reference_name,
        "origin": transform.origin,
        "scores": scores.tolist(),
        "mapped": transform.apply(scores).tolist(),
    }
    return {"transformed_by": transform.facts(), "looked_up": told}


def read_map(written: Mapping[str, Any] | None) -> Transform | None:
    """Return the transform that JSON describes.

    Raises:
        KeyError: something is missing in it.
        TypeError: something has another type.
        ValueError: it is no map.
    """
    if written is None:
        return None
    if "pairs" in written:
        pairs = written["pairs"]
        return DomainTransform(
            source=Sample(**pairs["source"]),
            reference=Sample(**pairs["reference"]),
            range=ScoreRange(**pairs["range"]),
            slope=pairs["slope"],
            scores=tuple(pairs["scores"]),
            mapped=tuple(pairs["mapped"]),
        )
    told = written["looked_up"]
    return LookedUp(
        range=ScoreRange(**told["range"]),
        source_is_higher_better=told["source_is_higher_better"],
        reference_name=told["reference_name"],
        origin=told["origin"],
        known=written["transformed_by"],
        scores=tuple(told["scores"]),
        mapped=tuple(told["mapped"]),
    )
