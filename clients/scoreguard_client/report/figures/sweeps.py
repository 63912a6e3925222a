"""Gain, SROCC and Quality over one parameter of a defence: figure 6b of arXiv 2404.06957."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FixedLocator, MaxNLocator

from scoreguard.v1.spec import UNDEFENDED, Step, format_chain, parse_chain, step_of
from scoreguard_client.report.build import Report
from scoreguard_client.report.figures.model import Figure
from scoreguard_client.report.figures.selection import Pools, column, finite, pools_of, said
from scoreguard_client.report.figures.style import (
    INK,
    LEGEND,
    MUTED,
    NORMAL,
    SMALL,
    bare,
    colour_of,
    line_mark,
    words_of,
)
from scoreguard_client.scores.estimates import Estimate

_LEAST: Final = 3
"""A sweep has at least so many values."""
_ROWS: Final = (
    ("purification_gain", "Gain, low is good"),
    ("srocc", "SROCC, high is good"),
    ("quality_score", "Quality, high is good"),
)
_WIDE: Final = 4.3
_HIGH: Final = 1.25
_LEFT: Final = 0.65
_GAP: Final = 0.16
_BOTTOM: Final = 0.42
_LINE: Final = 0.18
_MOST_TICKS: Final = 11


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Chains that differ in the value of one parameter."""

    defence: str
    """Name of the defence."""
    parameter: str
    """Name of its parameter."""
    others: str
    """The chain without the parameter."""
    chains: Mapping[float, str]
    """The chains by the value, which rises."""


def sweeps_in(chains: Sequence[str]) -> list[Sweep]:
    """Find every parameter that has three or more values while all else is equal."""
    groups: dict[tuple[int, str, str, str], dict[float, str]] = {}
    for chain in chains:
        steps = parse_chain(chain)
        for place, step in enumerate(steps):
            for name, value in step.numbers.items():
                rest = format_chain([*steps[:place], _without(step, name), *steps[place + 1 :]])
                groups.setdefault((place, step.name, name, rest), {})[value] = chain
    return [
        Sweep(defence=defence, parameter=parameter, others=rest, chains=dict(sorted(found.items())))
        for (_, defence, parameter, rest), found in groups.items()
        if len(found) >= _LEAST
    ]


def _without(step: Step, name: str) -> Step:
    return step_of(step.name, {key: value for key, value in step.parameters if key != name})


def sweeps(report: Report) -> Iterator[Figure]:
    """Return a figure of each sweep."""
    pools, used = pools_of(report), list[str]()
    for sweep in sweeps_in(report.metric.chains):
        numbers = numbers_over(report, pools, sweep)
        if not finite(each.value for row in numbers.values() for each in row.values()):
            continue
        key = f"sweep-{sweep.defence}-{sweep.parameter}"
        used.append(key)
        number = f"-{used.count(key)}" if used.count(key) > 1 else ""
        alone = sweep.others == sweep.defence
        yield Figure(
            key=key + number,
            title=f"{sweep.defence} by {sweep.parameter}" + ("" if alone else f" ({sweep.others})"),
            alt=_told(sweep, numbers),
            draw=lambda sweep=sweep, numbers=numbers: draw_sweep(report, pools, sweep, numbers),  # type: ignore[misc]
        )


Numbers = dict[tuple[str, bool], dict[float, Estimate]]
"""Numbers of a sweep by column and kind of attacker, then by the parameter's value."""


def numbers_over(report: Report, pools: Pools, sweep: Sweep) -> Numbers:
    """Compute the columns of each chain of a sweep over all attacked images."""
    return {
        (key, adaptive): {
            value: column(report, key, pools[chain, adaptive])
            for value, chain in sweep.chains.items()
            if (chain, adaptive) in pools
        }
        for key, _ in _ROWS
        for adaptive in sorted({kind for chain, kind in pools if chain in sweep.chains.values()}, reverse=True)
    }


def _told(sweep: Sweep, numbers: Numbers) -> str:
    low, high = min(sweep.chains), max(sweep.chains)
    sentences = [f"{sweep.others} with {sweep.parameter} from {low:g} to {high:g}, over all attacked images."]
    words = {key: label.split(",", 1)[0] for key, label in _ROWS}
    for (key, adaptive), row in numbers.items():
        there = {value: each.value for value, each in row.items() if math.isfinite(each.value)}
        if there:
            listed = ", ".join(f"{said(number)} at {value:g}" for value, number in there.items())
            sentences.append(f"{words[key]}, {'adaptive' if adaptive else 'unaware'}: {listed}.")
    return " ".join(sentences)


def draw_sweep(report: Report, pools: Pools, sweep: Sweep, numbers: Numbers) -> Drawing:
    """Draw the columns below each other over the values of the parameter."""
    kinds = list(dict.fromkeys(kind for _, kind in numbers))
    there = any((UNDEFENDED, kind) in pools for kind in kinds)
    top = _LINE * (len(kinds) + there) + 0.12
    width, height = _LEFT + _WIDE + 0.15, top + len(_ROWS) * (_HIGH + _GAP) + _BOTTOM - _GAP
    figure = Drawing(figsize=(width, height))
    for place, (key, label) in enumerate(_ROWS):
        bottom = height - top - (place + 1) * _HIGH - place * _GAP
        axes = figure.add_axes((_LEFT / width, bottom / height, _WIDE / width, _HIGH / height))
        bare(axes)
        for kind in reversed(kinds):
            _line(axes, numbers[key, kind], adaptive=kind)
        reference = column(report, key, pools[UNDEFENDED, kinds[0]]).value if there else float("nan")
        if math.isfinite(reference):
            axes.axhline(reference, color=MUTED, linestyle=(0, (1, 1)), linewidth=1.4)
        values = list(sweep.chains)
        axes.xaxis.set_major_locator(FixedLocator(values) if len(values) <= _MOST_TICKS else MaxNLocator(_MOST_TICKS))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10], min_n_ticks=2))
        axes.tick_params(labelbottom=place == len(_ROWS) - 1)
        axes.set_ylabel(label, fontsize=SMALL + 0.5, color=INK)
        axes.yaxis.set_label_coords(-0.48 / _WIDE, 0.5)
    x = (_LEFT + _WIDE / 2) / width
    figure.text(x, 0.08 / height, f"{sweep.parameter} of {sweep.defence}", ha="center", fontsize=NORMAL, color=INK)
    handles = [line_mark(colour_of(adaptive=kind), marker="o") for kind in kinds]
    handles += [line_mark(MUTED, linestyle=(0, (1, 1)))] if there else []
    words = [*(words_of(adaptive=kind) for kind in kinds), *(["without a defence"] if there else [])]
    figure.legend(handles, words, loc="upper left", borderaxespad=0.1, labelcolor=INK, **LEGEND)
    return figure


def _line(axes: Axes, row: Mapping[float, Estimate], *, adaptive: bool) -> None:
    colour, values = colour_of(adaptive=adaptive), np.array(list(row))
    lows, highs = (np.array([getattr(each, end) for each in row.values()]) for end in ("low", "high"))
    axes.plot(values, [each.value for each in row.values()], color=colour, marker="o", markersize=3.5, linewidth=1.6)
    axes.vlines(values, lows, highs, color=colour, linewidth=1.0)
