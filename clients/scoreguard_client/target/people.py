"""Scores that people gave to the images of a campaign (mean opinion scores), as a value and in the facts of a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from scoreguard_client.target.errors import PlanError
from scoreguard_client.target.images import unit_of

KEY: Final = "people"
"""Where the facts of a run have them; a run without such scores has no such key."""


@dataclass(frozen=True, kw_only=True)
class PeopleScores:
    """What people said of images."""

    source: str
    """Name of the file that they were read from."""
    column: str
    """Its column."""
    higher_is_better: bool
    """False for scores of the difference from an original, DMOS."""
    scores: Mapping[str, float]
    """Mean score of each image, by its name in records, as the file has it."""
    deviations: Mapping[str, float] = field(default_factory=dict[str, float])
    """Standard deviation of the opinions on each image, where the file has it."""

    def of(self, images: Collection[str]) -> PeopleScores | None:
        """Return those of some images; a frame has what its video has. None if none of the images has any."""
        kept, deviations = (
            {name: values[unit_of(name)] for name in images if unit_of(name) in values}
            for values in (self.scores, self.deviations)
        )
        if not kept:
            return None
        return PeopleScores(
            source=self.source,
            column=self.column,
            higher_is_better=self.higher_is_better,
            scores=kept,
            deviations=deviations,
        )

    def facts(self) -> dict[str, Any]:
        """Return them as JSON, for the facts of a run."""
        return asdict(self) | {"scores": dict(self.scores), "deviations": dict(self.deviations)}

    @property
    def quality(self) -> dict[str, float]:
        """The score of each image, turned so that higher is better."""
        sign = 1.0 if self.higher_is_better else -1.0
        return {name: sign * value for name, value in self.scores.items()}

    @property
    def words(self) -> str:
        """Where they are from, in words."""
        return f"{self.column} of {self.source}"


def people_scores(facts: Mapping[str, Any]) -> PeopleScores | None:
    """Read people's scores from the facts of a run; None if it has none."""
    stored = facts.get(KEY)
    return None if stored is None else PeopleScores(**stored)


def people_of(facts: Mapping[str, Any]) -> dict[str, float]:
    """Return people's score of each image from the facts of a run, turned so that higher is better; empty if none."""
    found = people_scores(facts)
    return {} if found is None else found.quality


def united_people(there: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the facts of a run with the images of two have under `KEY`; empty if neither has scores by people.

    Raises:
        PlanError: the scores are of different kinds, or an image has two different ones.
    """
    known, new = people_scores(there), people_scores(here)
    if known is None or new is None:
        found = known or new
        return {} if found is None else {KEY: found.facts()}
    if (known.column, known.higher_is_better) != (new.column, new.higher_is_better):
        raise PlanError(f"scores by people of two kinds do not fit together: {known.words}, and {new.words}")
    for name, value in new.scores.items():
        if known.scores.get(name, value) != value:
            raise PlanError(f"{name} has two scores by people: {known.scores[name]:g}, and {value:g} in {new.source}")
    sources = dict.fromkeys([*known.source.split(", "), new.source])
    united = PeopleScores(
        source=", ".join(sources),
        column=known.column,
        higher_is_better=known.higher_is_better,
        scores={**known.scores, **new.scores},
        deviations={**known.deviations, **new.deviations},
    )
    return {KEY: united.facts()}
