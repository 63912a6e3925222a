"""Signs that a campaign's numbers should not be taken at face value, after AutoAttack's (Croce and Hein 2020)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scoreguard.chain.rounding import any_rounds
from scoreguard.score_range import ScoreRange
from scoreguard.v1.spec import UNDEFENDED, parse_chain
from scoreguard_client.attacks.auto import Auto
from scoreguard_client.attacks.base import Attack, Direction, Needs
from scoreguard_client.attacks.catalogue import kind_of, parse_attack
from scoreguard_client.attacks.dct_threshold import DCTThreshold
from scoreguard_client.attacks.free.best import FreeBest
from scoreguard_client.attacks.mpgd import MPGD
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.records import Record
from scoreguard_client.report.columns import columns_for
from scoreguard_client.report.digits import decimals_of_range
from scoreguard_client.report.table import Row
from scoreguard_client.target.images import frame_of, unit_of

_ROUNDING_LOSS: Final = 0.25
_CLEAN_SHIFT: Final = 0.05
_MARGIN: Final = 0.01
_ADVICE: Final = {
    Needs.GRADIENT: "it failed, or its surrogate is too far off",
    Needs.SCORES: "its budget is too small; give it more queries",
    Needs.TRAINING: "the perturbation was trained on too few images, or against another metric",
}
"""Why an attack may gain nothing; an edit that asks nothing is no search that could have failed."""
_WHY_UNDEFINED: Final = {
    "relative_gain": "a clean score that is worse than the scale",
    "r_score": "a clean score worse and an attacked one better than the scale",
    "purification_gain": "a clean score of 0 or below",
    "perceptual": "too few pixels to measure it",
}


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The data from which warnings are derived."""

    rows: Sequence[Row]
    """The table."""
    records: Sequence[Record]
    """The records behind the table."""
    declared: ScoreRange
    """The metric's range."""
    plan: Plan
    """The plan."""
    chains: Sequence[str]
    """The chains before the metric."""
    expected: int
    """Records of the metric in the finished run."""
    labels: Mapping[str, str]
    """Chains as the user wrote them, by their full text form."""
    names: Mapping[str, str]
    """Attacks in prose, by their text form."""
    rounding: Collection[str] = ()
    """Chains whose gradient is not exact: straight through a rounding, or past a step."""

    def where(self, row: Row) -> str:
        """Name attack and chain of a row, for people."""
        return f"{self.names[row.attack]} behind {self.labels.get(row.chain, row.chain)}"


def cautions_for(evidence: Evidence) -> list[str]:
    """List what a reader should know before trusting a table, one sentence each."""
    return [caution for check in _CHECKS for caution in check(evidence)]


def _unfinished(evidence: Evidence) -> Iterator[str]:
    there, expected = len(evidence.records), evidence.expected
    if there < expected:
        yield f"The campaign is not finished: {there} of {expected} records are there; run scoreguard attack again."


def _failures(evidence: Evidence) -> Iterator[str]:
    failed = sum(row.failed for row in evidence.rows)
    if failed:
        yield f"{failed} records failed and are in no number; run scoreguard attack again to try them again."


def _videos(evidence: Evidence) -> Iterator[str]:
    frames = [image.name for image in evidence.plan.images if frame_of(image.name) is not None]
    if frames:
        videos = len({unit_of(name) for name in frames})
        yield (
            f"{len(frames)} of the images are frames of {videos} videos: n counts frames, and intervals count videos, "
            "whose frames resemble each other."
        )


def _undefined(evidence: Evidence) -> Iterator[str]:
    for row in evidence.rows:
        for column in columns_for(evidence.plan):
            estimate = row.scores.get(column.key)
            if estimate and column.key in _WHY_UNDEFINED and estimate.undefined:
                yield (
                    f"{evidence.where(row)}: {column.label} is undefined: {estimate.undefined} of {row.images} images "
                    f"have {_WHY_UNDEFINED[column.key]}."
                )


def _weak_attacks(evidence: Evidence) -> Iterator[str]:
    for row in evidence.rows:
        advice = _ADVICE.get(kind_of(row.attack).needs)
        if advice and row.chain == UNDEFENDED and _effect(row) <= 0:
            yield f"{evidence.names[row.attack]} gains nothing even undefended: {advice}."


def _weak_adaptive(evidence: Evidence) -> Iterator[str]:
    plain = {(row.attack, row.chain): _effect(row) for row in evidence.rows if not row.adaptive}
    for row in evidence.rows:
        other = plain.get((row.attack, row.chain), math.nan)
        if row.adaptive and _effect(row) < other - _MARGIN:
            yield (
                f"{evidence.where(row)} gains less when it knows the defence ({_effect(row):.3f} against {other:.3f}): "
                "gradients may be masked, or it needs more steps or draws."
            )


def _thresholds(evidence: Evidence) -> Iterator[str]:
    """Find chains that round, attacked by gradients that do not see the distance to the next threshold."""
    for chain in evidence.chains:
        steps = parse_chain(chain)
        there = {kind_of(row.attack) for row in evidence.rows if row.adaptive and row.chain == chain}
        if not (chain in evidence.rounding or any_rounds(steps)) or not any(
            kind.needs is Needs.GRADIENT for kind in there
        ):
            continue
        wanted: set[type[Attack]] = {Auto, DCTThreshold} if DCTThreshold.fits(steps) else {Auto, MPGD}
        if not there & wanted:
            names = " or ".join(sorted(kind.name for kind in wanted))
            label = evidence.labels.get(chain, chain)
            yield f"{label} rounds, and only gradients straight through its rounding attacked it: add {names}."


def _black_box(evidence: Evidence) -> Iterator[str]:
    best: dict[tuple[str, bool, Needs], float] = {}
    for row in evidence.rows:
        if kind_of(row.attack) is FreeBest:
            continue  # Its budget is a fidelity: that it gains more says nothing about the gradient.
        place = (row.chain, row.adaptive, kind_of(row.attack).needs)
        best[place] = max(best.get(place, -math.inf), _effect(row))
    for (chain, adaptive, needs), gain in best.items():
        white = best.get((chain, adaptive, Needs.GRADIENT), math.inf)
        if needs is Needs.SCORES and gain > white + _MARGIN:
            yield (
                f"Behind {evidence.labels.get(chain, chain)} a black-box attack gains more than every gradient attack "
                f"({gain:.3f} against {white:.3f}): the gradient is masked, or the gradient attacks are too short."
            )


def _draws(evidence: Evidence) -> Iterator[str]:
    random = {record.chain for record in evidence.records if record.draw > 0}
    if random and evidence.plan.crafting_draws == 1 and any(row.adaptive for row in evidence.rows):
        yield (
            "Attacks that know a random defence saw one draw of it per query: "
            "give --crafting-draws for the expectation over its draws."
        )


def _flags(evidence: Evidence) -> Iterator[str]:
    flagged = (record for record in evidence.records if record.flags)
    seen = {(record.image, record.attack, record.attacked_through, record.flags) for record in flagged}
    counts = Counter((attack, flag) for _, attack, _, flags in seen for flag in flags.split(","))
    for (attack, flag), count in sorted(counts.items()):
        meaning = kind_of(attack).flag_meanings.get(flag, flag)
        yield f"{evidence.names[attack]}, {count} attacked images: {meaning}."


def _rounding(evidence: Evidence) -> Iterator[str]:
    for row in evidence.rows:
        gain = _effect(row)
        if gain > 0 and _effect(row, "absolute_gain_8bit") < (1 - _ROUNDING_LOSS) * gain:
            yield f"{evidence.where(row)} loses more than a quarter of its gain to 8-bit rounding."


def _clean(evidence: Evidence) -> Iterator[str]:
    shifts: dict[str, dict[str, float]] = {}
    for record in evidence.records:
        if not record.error and record.clean_score is not None and record.clean_defended is not None:
            shift = record.clean_defended - record.clean_score
            shifts.setdefault(record.chain, {})[record.image] = shift
    for chain, by_image in shifts.items():
        mean = sum(by_image.values()) / len(by_image)
        span = evidence.declared.high - evidence.declared.low
        if abs(mean) > _CLEAN_SHIFT * span:
            label, moved = evidence.labels.get(chain, chain), f"{mean:+.{decimals_of_range(span)}f}"
            yield f"{label} moves clean scores by {moved} in the mean: undefended thresholds do not fit."


def _effect(row: Row, column: str = "absolute_gain") -> float:
    """Return the attack's gain in its own direction, as a share of the range."""
    if not row.scores:
        return math.nan
    sign = -1.0 if parse_attack(row.attack).direction is Direction.DOWN else 1.0
    return sign * row.scores[column].value


_CHECKS: Final = (
    _unfinished,
    _failures,
    _videos,
    _undefined,
    _weak_attacks,
    _weak_adaptive,
    _thresholds,
    _black_box,
    _draws,
    _flags,
    _rounding,
    _clean,
)
