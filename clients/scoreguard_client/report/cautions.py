"""Signs that a campaign's numbers should not be taken at face value, after AutoAttack's (Croce and Hein 2020)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from scoreguard.v1.spec import UNDEFENDED
from scoreguard_client.attacks.base import Needs
from scoreguard_client.attacks.catalogue import kind_of
from scoreguard_client.campaign.records import Record
from scoreguard_client.report.table import Row
from scoreguard_client.scores.scaling import ScoreRange

_ROUNDING_LOSS: Final = 0.25
_CLEAN_SHIFT: Final = 0.05
_ADAPTIVE_MARGIN: Final = 0.01
_ADVICE: Final = {
    Needs.GRADIENT: "it failed, or its surrogate is too far off",
    Needs.SCORES: "its budget is too small; give it more queries",
    Needs.TRAINING: "the perturbation was trained on too few pictures, or against another metric",
}


def cautions_for(
    rows: Sequence[Row],
    records: Sequence[Record],
    declared: ScoreRange,
    *,
    expected: int,
    labels: Mapping[str, str],
) -> list[str]:
    """What a reader should know before trusting a table, one sentence each.

    Args:
        rows: the table.
        records: what it was made from.
        declared: the metric's range.
        expected: records of the finished run.
        labels: chains as the user wrote them, by their full text form.
    """
    checks = (
        _failures(rows),
        _weak_attacks(rows),
        _weak_adaptive(rows, labels),
        _rounding(rows, labels),
        _clean(records, declared, labels),
    )
    return [*_unfinished(len(records), expected), *(caution for check in checks for caution in check)]


def _unfinished(there: int, expected: int) -> Iterator[str]:
    if there < expected:
        yield f"The campaign is not finished: {there} of {expected} records are there; run scoreguard attack again."


def _failures(rows: Sequence[Row]) -> Iterator[str]:
    failed = sum(row.failed for row in rows)
    if failed:
        yield f"{failed} records failed and are in no number; run scoreguard attack again to try them again."


def _weak_attacks(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if row.chain == UNDEFENDED and row.scores and not row.scores["absolute_gain"].value > 0:
            yield f"{_name(row.attack)} gains nothing even undefended: {_ADVICE[kind_of(row.attack).needs]}."


def _weak_adaptive(rows: Sequence[Row], labels: Mapping[str, str]) -> Iterator[str]:
    plain = {(row.attack, row.chain): _gain(row) for row in rows if not row.adaptive}
    for row in rows:
        other = plain.get((row.attack, row.chain), math.nan)
        if row.adaptive and _gain(row) < other - _ADAPTIVE_MARGIN:
            yield (
                f"{_name(row.attack)} gains less behind {labels.get(row.chain, row.chain)} when it knows the defence "
                f"({_gain(row):.3f} against {other:.3f}): gradients may be masked, or it needs more steps or draws."
            )


def _rounding(rows: Sequence[Row], labels: Mapping[str, str]) -> Iterator[str]:
    for row in rows:
        gain = _gain(row)
        if gain > 0 and row.scores["absolute_gain_8bit"].value < (1 - _ROUNDING_LOSS) * gain:
            chain = labels.get(row.chain, row.chain)
            yield f"{_name(row.attack)} behind {chain} loses more than a quarter of its gain to 8-bit rounding."


def _clean(records: Sequence[Record], declared: ScoreRange, labels: Mapping[str, str]) -> Iterator[str]:
    shifts: dict[str, dict[str, float]] = {}
    for record in records:
        if record.clean_score is not None and record.clean_defended is not None:
            shift = record.clean_defended - record.clean_score
            shifts.setdefault(record.chain, {})[record.image] = shift
    for chain, by_image in shifts.items():
        mean = sum(by_image.values()) / len(by_image)
        if abs(mean) > _CLEAN_SHIFT * (declared.high - declared.low):
            label = labels.get(chain, chain)
            yield f"{label} moves clean scores by {mean:+.2f} in the mean: undefended thresholds do not fit."


def _gain(row: Row) -> float:
    return row.scores["absolute_gain"].value if row.scores else math.nan


def _name(attack: str) -> str:
    return kind_of(attack).title
