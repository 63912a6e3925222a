"""Gain against budget, for attacks that a plan has at several budgets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

import numpy as np

from scoreguard.v1.codec import TOP
from scoreguard_client.attacks.catalogue import kind_of
from scoreguard_client.campaign.records import Record
from scoreguard_client.report.build import Report
from scoreguard_client.report.figures.curves import Curve, Frame, draw_curves, told
from scoreguard_client.report.figures.model import Figure
from scoreguard_client.report.figures.selection import finite, pools_of
from scoreguard_client.report.tables.results import numbers_of
from scoreguard_client.scores.budget_curves import budget_curve
from scoreguard_client.scores.clusters import Clusters

_QUERIES: Final = "queries"
_LEVELS: Final = ("eps", "rmse", "amplitude")
"""Budgets that are shown in steps of 8-bit images."""
_MOST_LOST: Final = "min_ssim"
"""A budget that is larger the lower it is."""
_MOST_TICKS: Final = 5
_VARIANTS: Final = ("direction", "mode")
"""Attacks that differ in these are never on one curve."""
_FRAME: Final = Frame(
    x_label="budget",
    y_label="absolute gain, share of the scale",
    number_words="area under the curve, a mean gain over budgets",
    low_is_good=True,
    style="o",
)


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """One kind of attack at several budgets."""

    name: str
    """Name of the attack."""
    title: str
    """Its name in prose."""
    parameter: str
    """The parameter that is its budget."""
    unit: str
    """What the budgets are numbers of."""
    attacks: dict[float, str]
    """The attacks by budget, which rises."""


def ladders_in(attacks: Sequence[str]) -> list[Ladder]:
    """Find the attacks of one kind that differ in their budget; the length of a step may follow it."""
    groups: dict[tuple[str, ...], dict[float, str]] = {}
    for attack in attacks:
        parameters = _parameters(attack)
        fixed = [parameters.get(name, "") for name in _VARIANTS]
        for parameter in _budgets_of(attack):
            value = _number(parameters.get(parameter, ""))
            # All else is equal, or the attacks of this kind have a budget each.
            rest = [f"{key}={text}" for key, text in parameters.items() if key != parameter]
            for how, equal in (("kind", fixed), ("equal", rest)):
                if np.isfinite(value):
                    group = groups.setdefault((how, attack.split(":")[0], parameter, *equal), {})
                    # Two attacks of one budget: which of them the curve would show cannot be said.
                    group[_shown(parameter, value)] = "" if _shown(parameter, value) in group else attack
    return list(_chosen(groups))


def _chosen(groups: dict[tuple[str, ...], dict[float, str]]) -> Iterator[Ladder]:
    done: set[str] = set()
    for (how, name, parameter, *_), found in sorted(groups.items(), key=lambda item: item[0][0] != "kind"):
        texts = set(found.values())
        if len(found) < 2 or "" in texts or (how == "equal" and texts <= done):
            continue
        done |= texts
        kind = kind_of(next(iter(texts)))
        unit = f"{parameter} / {TOP}" if parameter in _LEVELS else parameter
        unit = "largest loss of SSIM" if parameter == _MOST_LOST else unit
        rising = dict(sorted(found.items()))
        yield Ladder(name=name, title=kind.title, parameter=parameter, unit=unit, attacks=rising)


def _parameters(attack: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in attack.split(":")[1:])


def _budgets_of(attack: str) -> list[str]:
    """Return the parameters that the attack's budget names, and its queries."""
    words = set(re.findall(r"[a-z_]+", kind_of(attack).budget)) | {_QUERIES}
    return [name for name in _parameters(attack) if name in words]


def _number(text: str) -> float:
    try:
        return float(Fraction(text))
    except ValueError:
        return float("nan")


def _shown(parameter: str, value: float) -> float:
    """Return a budget in the units of the figure."""
    if parameter == _MOST_LOST:
        return round(1 - value, 9)
    return round(value * TOP, 6) if parameter in _LEVELS else value


def budgets(report: Report) -> Iterator[Figure]:
    """Return a figure of each kind of attack that has several budgets."""
    found = [(ladder, _curves(report, ladder)) for ladder in ladders_in(report.plan.attacks)]
    found = [(ladder, curves) for ladder, curves in found if finite(curve.number for curve in curves)]
    for place, (ladder, curves) in enumerate(found):
        few = tuple(ladder.attacks) if len(ladder.attacks) <= _MOST_TICKS else ()
        frame = replace(_FRAME, x_label=f"budget of {ladder.title}: {ladder.unit}", x_ticks=few)
        over = ", ".join(f"{budget:g}" for budget in ladder.attacks)
        first = f"Absolute gain of {ladder.title} over its budget, {ladder.unit}: {over}, from 0 on."
        yield Figure(
            key=f"budget-{ladder.name}-{ladder.parameter}" + (f"-{place}" if _again(found[:place], ladder) else ""),
            title=f"Gain against the budget of {ladder.title}",
            alt=f"{first} {told(report, curves, frame)}",
            draw=lambda curves=curves, frame=frame: draw_curves(report, curves, frame),  # type: ignore[misc]
        )


def _again(before: Sequence[tuple[Ladder, list[Curve]]], ladder: Ladder) -> bool:
    return any((one.name, one.parameter) == (ladder.name, ladder.parameter) for one, _ in before)


def _curves(report: Report, ladder: Ladder) -> list[Curve]:
    curves = []
    for (chain, adaptive), records in pools_of(report).items():
        by_row: dict[tuple[str, int], dict[str, Record]] = {}
        for record in records:
            if record.attack in ladder.attacks.values():
                by_row.setdefault((record.image, record.draw), {})[record.attack] = record
        # A row is one draw of an image at every budget.
        whole = [
            [row[attack] for attack in ladder.attacks.values()] for row in by_row.values() if _is_whole(row, ladder)
        ]
        if not whole:
            continue
        numbers = numbers_of(report, [record for row in whole for record in row])
        gains = (numbers.v - numbers.u).reshape(len(whole), -1)
        images = Clusters([row[0].unit for row in whole], resamples=report.options.resamples)
        curve = budget_curve(gains, list(ladder.attacks), images, unit=ladder.unit)
        y = np.array([gain.value for gain in curve.gains])
        x = np.array(curve.budgets)
        curves.append(Curve(chain=chain, adaptive=adaptive, x=x, y=y, number=curve.area.value))
    return curves


def _is_whole(row: dict[str, Record], ladder: Ladder) -> bool:
    return len(row) == len(ladder.attacks)
