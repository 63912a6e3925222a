"""Scores of one metric on the scale of another, so that gains against different metrics can be compared.

Metrics spread the quality of the same images differently: a rise by a tenth of the range is common for one and
unheard-of for another. The public benchmark (arXiv 2310.06958) therefore maps every metric onto a reference metric
before it computes gains. Here the map is exact: quantiles of the metric's clean scores go to the same quantiles of the
reference's (`transport`). It depends on the two distributions only, so both metrics may have scored different images of
one kind, and images need not be paired.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from scoreguard.score_range import ScoreRange
from scoreguard_client.scores.scaling import Values
from scoreguard_client.scores.transport import transport_map

_KIND: Final = "scoreguard domain transform"
_DIGEST_LENGTH: Final = 64
_FEWEST: Final = 2


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Where one side of a transform is from."""

    metric: str
    """Name of the metric."""
    higher_is_better: bool
    """Its direction."""
    images: int
    """Scores in the sample, one an image."""
    sha256: str
    """SHA-256 of the images and scores, hexadecimal: that of `sample_sha256`."""


@dataclass(frozen=True, kw_only=True)
class DomainTransform:
    """A map from the scores of one metric to those of a reference, in the reference's units and direction.

    Between two fitted scores the map is linear. Outside of them it goes on linearly with `slope`. Attacks push scores
    out of the clean ones, so what happens there decides gains: a map that stays at the highest fitted value would hide
    every attack that gets beyond it, and the slope of the last pair of scores is chance. The default slope is that of
    the line from the worst to the best pair: one width of the metric's clean scores counts as one width of the
    reference's, as if both were scaled to [0, 1] by their clean scores. It is never negative, so a better score never
    maps to a worse one.
    """

    source: Sample
    """The metric whose scores are mapped."""
    reference: Sample
    """The metric that they are mapped onto."""
    range: ScoreRange
    """Range and direction of the reference: what mapped scores are scaled by."""
    slope: float
    """Size of the slope outside the fitted scores, in units of the reference per unit of the metric."""
    scores: tuple[float, ...]
    """Fitted scores of the metric, from the worst to the best, all different."""
    mapped: tuple[float, ...]
    """What they map to, from the worst to the best; equal ones may occur."""

    def __post_init__(self) -> None:
        numbers = np.array([self.slope, self.range.low, self.range.high, *self.scores, *self.mapped])
        if len(self.scores) != len(self.mapped) or len(self.scores) < _FEWEST:
            raise ValueError("its scores and what they map to are not pairs, two or more")
        if not np.isfinite(numbers).all():
            raise ValueError("a number in it is not finite")
        if self.slope < 0:
            raise ValueError(f"its slope {self.slope:g} is negative: better scores would map to worse ones")
        if not self.range.low < self.range.high:
            raise ValueError(f"its range {self.range.low:g} to {self.range.high:g} is empty")
        if (np.diff(self._knots[0]) <= 0).any() or (np.diff(self._knots[1]) < 0).any():
            raise ValueError("its pairs do not go from the worst to the best score")

    @classmethod
    def fit(
        cls,
        scores: Values,
        reference_scores: Values,
        *,
        source: Sample,
        reference: Sample,
        reference_range: ScoreRange | None = None,
        slope: float | None = None,
    ) -> DomainTransform:
        """Fit the map to clean scores of both metrics on images of one kind.

        Args:
            scores: scores of the metric, one an image: (N,).
            reference_scores: scores of the reference, on the same or on other images: (M,).
            source: the metric.
            reference: the reference metric.
            reference_range: its range; None = from its lowest to its highest score.
            slope: size of the slope outside the fitted scores; None = that of the line from the worst to the best pair.

        Raises:
            ValueError: a score is not finite, a side has fewer than two different scores, or the slope is negative.
        """
        for side, values in ((source, scores), (reference, reference_scores)):
            _require_sample(side, values)
        signs = _sign(source.higher_is_better), _sign(reference.higher_is_better)
        knots, reached = transport_map(signs[0] * scores, signs[1] * reference_scores)
        if slope is None:
            slope = float((reached[-1] - reached[0]) / (knots[-1] - knots[0]))
        return cls(
            source=source,
            reference=reference,
            range=reference_range
            or ScoreRange(
                low=float(reference_scores.min()),
                high=float(reference_scores.max()),
                higher_is_better=reference.higher_is_better,
            ),
            slope=slope,
            scores=tuple((signs[0] * knots).tolist()),
            mapped=tuple((signs[1] * reached).tolist()),
        )

    def apply(self, scores: Values) -> Values:
        """Map scores of the metric: (N,), finite; NaN stays NaN."""
        (knots, reached), (sign, reference_sign) = self._knots, self._signs
        oriented = sign * np.asarray(scores, dtype=np.float64)
        inside = np.clip(oriented, knots[0], knots[-1])
        # Not numpy.interp: rounding may put its values above the next knot's, and a better score must not map lower.
        left = np.clip(np.searchsorted(knots, inside, side="right") - 1, 0, len(knots) - 2)
        share = (inside - knots[left]) / (knots[left + 1] - knots[left])
        between = reached[left] + share * (reached[left + 1] - reached[left])
        between = np.minimum(np.where(share == 1, reached[left + 1], between), reached[left + 1])
        return np.asarray(reference_sign * (between + self.slope * (oriented - inside)))

    @property
    def origin(self) -> str:
        """Return in a few words where the map is from."""
        return f"optimal transport fitted on {self.source.images} and {self.reference.images} scores"

    @property
    def source_is_higher_better(self) -> bool:
        """Return the direction of the metric that is mapped."""
        return self.source.higher_is_better

    @property
    def reference_name(self) -> str:
        """Return the name of the metric that scores are mapped onto."""
        return self.reference.metric

    def facts(self) -> dict[str, Any]:
        """Return what a report says about the map, as JSON: all but the pairs."""
        return {
            "source": asdict(self.source),
            "reference": asdict(self.reference),
            "range": asdict(self.range),
            "slope": self.slope,
            "origin": self.origin,
        }

    @property
    def _signs(self) -> tuple[float, float]:
        return _sign(self.source.higher_is_better), _sign(self.range.higher_is_better)

    @cached_property
    def _knots(self) -> tuple[Values, Values]:
        """Return both sides of the pairs so that higher is better."""
        sign, reference_sign = self._signs
        return sign * np.array(self.scores), reference_sign * np.array(self.mapped)

    def to_json(self) -> str:
        """Return the text of a file."""
        return json.dumps({"kind": _KIND, **asdict(self)}, indent=1) + "\n"

    @classmethod
    def read(cls, path: Path) -> DomainTransform:
        """Read a file.

        Raises:
            ValueError: it cannot be read, or is no transform, in one line.
        """
        try:
            content: Any = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(content, dict) or content.pop("kind", None) != _KIND:
                raise ValueError("another kind of file")
            sides = {side: _sample(content.pop(side)) for side in ("source", "reference")}
            scale, better = content.pop("range"), sides["reference"].higher_is_better
            if scale.pop("higher_is_better") is not better:
                raise ValueError("its reference and the range of it differ in direction")
            ends = {end: _number(scale[end]) for end in ("low", "high")}
            return cls(
                **sides,
                range=ScoreRange(**ends, higher_is_better=better),
                slope=_number(content["slope"]),
                scores=tuple(map(_number, content["scores"])),
                mapped=tuple(map(_number, content["mapped"])),
            )
        except (OSError, ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError) as error:
            why = f"no {error}" if isinstance(error, KeyError) else error
            raise ValueError(
                f"{path} is no domain transform ({why}): write one by scoreguard domain fit SCORES REFERENCE --out FILE"
            ) from error


def sample_sha256(images: Sequence[str], scores: Values) -> str:
    """Compute the digest of a sample: a line for each image, its score, two spaces and its name, in sorted order."""
    lines = sorted(f"{score!r}  {image}\n" for image, score in zip(images, scores.tolist(), strict=True))
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _sign(higher_is_better: bool) -> float:
    return 1.0 if higher_is_better else -1.0


def _require_sample(side: Sample, values: Values) -> None:
    if not np.isfinite(values).all():
        raise ValueError(f"a score of {side.metric} is not finite")
    if len(np.unique(values)) < _FEWEST:
        raise ValueError(f"{side.metric} needs two different scores or more: a map cannot be fitted to one")


def _sample(content: Any) -> Sample:
    found = Sample(**content)
    if not (
        isinstance(found.metric, str) and isinstance(found.higher_is_better, bool) and isinstance(found.images, int)
    ):
        raise ValueError("a metric's name, direction or number of images is none")
    if len(found.sha256) != _DIGEST_LENGTH:
        raise ValueError(f"the digest of {found.metric} is none")
    return found


def _number(content: Any) -> float:
    if type(content) not in (int, float):
        raise ValueError(f"{content!r:.40} is not a number")
    return float(content)
