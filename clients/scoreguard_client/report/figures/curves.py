"""Curves of chains: over each other while they are few, else a small panel for each chain, the best one first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FixedLocator, MaxNLocator

from scoreguard.v1.spec import UNDEFENDED
from scoreguard_client.report.build import Report
from scoreguard_client.report.figures.selection import finite, said
from scoreguard_client.report.figures.style import (
    INK,
    LEGEND,
    LINES,
    MUTED,
    NORMAL,
    SMALL,
    bare,
    colour_of,
    line_mark,
    lines_of,
    words_of,
    wrapped,
)
from scoreguard_client.scores.scaling import Values

_TICKS: Final = 4
_LEFT: Final = 0.62
_RIGHT: Final = 0.12
_BOTTOM: Final = 0.45
_TEXT: Final = 0.15
_NAME: Final = 22
_LONG_NAME: Final = 44
_PER_LINE: Final = 3
_SIDE: Final = 1.42
_TALL: Final = 1.0
_GAP: Final = 0.16
_WIDE: Final = _PER_LINE * _SIDE + (_PER_LINE - 1) * _GAP
_HIGH: Final = 2.4


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One chain against one kind of attacker."""

    chain: str
    """The chain."""
    adaptive: bool
    """Whether the attacks knew it."""
    x: Values
    """Where it has points, rising: (points,)."""
    y: Values
    """Its points: (points,)."""
    number: float
    """What sums it up."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What the curves of a figure have in common."""

    x_label: str
    """What runs to the right."""
    y_label: str
    """What runs upwards."""
    number_words: str
    """What the number of a curve is."""
    low_is_good: bool
    """Whether a chain with a low number is a good one."""
    x_span: tuple[float, float] | None = None
    """Ends of the axis; None = those of the points."""
    y_span: tuple[float, float] | None = None
    """Ends of the axis; None = 0 and the highest point, or the lowest one if that is below 0."""
    x_ticks: tuple[float, ...] = ()
    """Numbers on the axis; empty = round ones."""
    diagonal: bool = False
    """Whether to show the line of equal values, which chance gives."""
    style: str = ""
    """Mark of each point; empty = none."""


def told(report: Report, curves: Sequence[Curve], frame: Frame) -> str:
    """List the numbers of the curves, the best one first."""
    sentences = []
    for adaptive in kinds_in(curves):
        mine = _best_first([curve for curve in curves if curve.adaptive is adaptive], frame)
        numbers = ", ".join(f"{report.label(curve.chain)} {said(curve.number)}" for curve in mine)
        sentences.append(f"{'Adaptive' if adaptive else 'Unaware'}, {frame.number_words}: {numbers}.")
    return " ".join(sentences)


def kinds_in(curves: Iterable[Curve]) -> list[bool]:
    """Return the kinds of attackers that there are curves of, the one that knows the chain first."""
    return sorted({curve.adaptive for curve in curves}, reverse=True)


def _best_first(curves: Iterable[Curve], frame: Frame) -> list[Curve]:
    sign = 1 if frame.low_is_good else -1
    return sorted(curves, key=lambda curve: (math.isnan(curve.number), sign * curve.number))


def draw_curves(report: Report, curves: Sequence[Curve], frame: Frame) -> Drawing:
    """Draw the curves."""
    chains = {curve.chain for curve in curves} - {UNDEFENDED}
    return _over_each_other(report, curves, frame) if len(chains) <= len(LINES) else _apart(report, curves, frame)


def _over_each_other(report: Report, curves: Sequence[Curve], frame: Frame) -> Drawing:
    kinds = kinds_in(curves)
    order = [curve.chain for curve in _best_first([c for c in curves if c.adaptive is kinds[0]], frame)]
    order += [curve.chain for curve in curves if curve.chain not in order]
    order = list(dict.fromkeys(order))
    names = [_with_numbers(report, chain, curves) for chain in order]
    legend = 0.1 + (_TEXT + 0.03) * (sum(map(lines_of, names)) + 1)
    panel = _HIGH + _TEXT + 0.15
    width, height = _LEFT + _WIDE + _RIGHT, len(kinds) * panel + _BOTTOM + legend
    figure = Drawing(figsize=(width, height))
    colours = dict(zip([chain for chain in order if chain != UNDEFENDED], LINES, strict=False))
    for place, adaptive in enumerate(kinds):
        bottom = height - (place + 1) * panel + 0.05
        axes = figure.add_axes((_LEFT / width, bottom / height, _WIDE / width, _HIGH / height))
        _frame_axes(axes, curves, frame)
        axes.set_title(words_of(adaptive=adaptive), fontsize=NORMAL, color=INK, loc="left", fontweight="bold")
        for curve in curves:
            if curve.adaptive is adaptive:
                _line(axes, curve, frame, **_look(curve.chain, colours))
        axes.tick_params(labelbottom=place == len(kinds) - 1)
    _axis_labels(figure, frame, legend)
    handles = [line_mark(**_look(chain, colours), marker=frame.style) for chain in order]
    told_once = "adaptive | unaware" if len(kinds) > 1 else ""
    found = figure.legend(
        handles,
        names,
        loc="lower left",
        bbox_to_anchor=(_LEFT / width - 0.02, 0),
        title=f"{frame.number_words}{': ' if told_once else ''}{told_once}",
        title_fontsize=NORMAL,
        alignment="left",
        labelcolor=INK,
        borderaxespad=0.2,
        **LEGEND,
    )
    found.get_title().set_color(INK)
    return figure


def _look(chain: str, colours: dict[str, tuple[str, Any]]) -> dict[str, Any]:
    colour, dashes = colours.get(chain, (MUTED, (0, (1, 1))))
    return {"color": colour, "linestyle": dashes, "linewidth": 1.6}


def _with_numbers(report: Report, chain: str, curves: Sequence[Curve]) -> str:
    numbers = [said(c.number) for kind in kinds_in(curves) for c in curves if (c.chain, c.adaptive) == (chain, kind)]
    return f"{wrapped(report.label(chain), _LONG_NAME)} · {' | '.join(numbers)}"


def _apart(report: Report, curves: Sequence[Curve], frame: Frame) -> Drawing:
    kinds = kinds_in(curves)
    reference = [curve for curve in curves if curve.chain == UNDEFENDED]
    by_chain = {
        chain: list(mine)
        for chain, mine in groupby(sorted(curves, key=lambda curve: curve.chain), key=lambda curve: curve.chain)
        if chain != UNDEFENDED
    }
    firsts = [min(mine, key=lambda curve: not curve.adaptive) for mine in by_chain.values()]
    order = [curve.chain for curve in _best_first(firsts, frame)]
    names = [wrapped(report.label(chain), _NAME) for chain in order]
    lines = [order[start : start + _PER_LINE] for start in range(0, len(order), _PER_LINE)]
    heads = [
        _TEXT * (max(map(lines_of, names[start : start + _PER_LINE])) + 1) + 0.08
        for start in range(0, len(order), _PER_LINE)
    ]
    top = (_TEXT + 0.03) * (len(kinds) + bool(reference) + 1) + 0.1
    width = _LEFT + _WIDE + _RIGHT
    height = top + sum(heads) + len(lines) * (_TALL + _GAP) + _BOTTOM
    figure = Drawing(figsize=(width, height))
    _top_legend(figure, kinds, reference, frame)
    below = height - top
    for number, (line, head) in enumerate(zip(lines, heads, strict=True)):
        below -= head + _TALL
        for place, chain in enumerate(line):
            left = _LEFT + place * (_SIDE + _GAP)
            axes = figure.add_axes((left / width, below / height, _SIDE / width, _TALL / height))
            _frame_axes(axes, curves, frame)
            for curve in reference[:1]:
                _line(axes, curve, frame, **_look(UNDEFENDED, {}), marks=False)
            for curve in reversed(by_chain[chain]):
                _line(axes, curve, frame, color=colour_of(adaptive=curve.adaptive), linewidth=1.6)
            _panel_head(axes, names[number * _PER_LINE + place], by_chain[chain])
            last = number == len(lines) - 1 or (number == len(lines) - 2 and place >= len(lines[-1]))
            axes.tick_params(labelleft=place == 0, labelbottom=last)
        below -= _GAP
    _axis_labels(figure, frame, 0)
    return figure


def _top_legend(figure: Drawing, kinds: Sequence[bool], reference: Sequence[Curve], frame: Frame) -> None:
    handles = [line_mark(colour_of(adaptive=kind), linewidth=1.6, marker=frame.style) for kind in kinds]
    texts = [words_of(adaptive=kind) for kind in kinds]
    for curve in reference[:1]:
        handles.append(line_mark(**_look(UNDEFENDED, {})))
        texts.append(f"without a defence: {said(curve.number)}")
    found = figure.legend(
        handles,
        texts,
        loc="upper left",
        bbox_to_anchor=(0.0, 1.0),
        borderaxespad=0.2,
        title=f"beside each name: {frame.number_words}",
        title_fontsize=NORMAL,
        alignment="left",
        labelcolor=INK,
        **LEGEND,
    )
    found.get_title().set_color(INK)


def _panel_head(axes: Axes, name: str, curves: Sequence[Curve]) -> None:
    up = 1 / (_TALL * 72)
    axes.text(0, 1 + 14 * up, name, transform=axes.transAxes, fontsize=NORMAL, color=INK)
    for place, curve in enumerate(sorted(curves, key=lambda curve: not curve.adaptive)):
        colour = colour_of(adaptive=curve.adaptive)
        x = 0.32 * place
        axes.text(x, 1 + 4 * up, said(curve.number), transform=axes.transAxes, fontsize=NORMAL, color=colour)


def _frame_axes(axes: Axes, curves: Sequence[Curve], frame: Frame) -> None:
    bare(axes)
    x = frame.x_span or _span(np.concatenate([curve.x for curve in curves]))
    y = frame.y_span or _span([0.0, *np.concatenate([curve.y for curve in curves])])
    pads = 0.02 * (x[1] - x[0]), 0.04 * (y[1] - y[0])
    axes.set_xlim(x[0] - pads[0], x[1] + pads[0])
    axes.set_ylim(y[0] - pads[1], y[1] + pads[1])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=_TICKS, steps=[1, 2, 5, 10], min_n_ticks=2))
    if frame.x_ticks:
        axes.xaxis.set_major_locator(FixedLocator(frame.x_ticks))
    if frame.diagonal:
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)), label="_chance")


def _span(values: Iterable[float]) -> tuple[float, float]:
    there = finite(values) or [0.0]
    return min(there), max(there) if max(there) > min(there) else min(there) + 1


def _line(axes: Axes, curve: Curve, frame: Frame, *, marks: bool = True, **style: Any) -> None:
    mark = frame.style if marks else ""
    axes.plot(curve.x, curve.y, label=curve.chain, marker=mark, markersize=3.5, **style)


def _axis_labels(figure: Drawing, frame: Frame, below: float) -> None:
    """Name both axes once.

    Args:
        figure: the figure.
        frame: the names.
        below: inches that other things take below the axes.
    """
    width, height = figure.get_size_inches()
    x = (_LEFT + _WIDE / 2) / width
    figure.text(x, (below + 0.12) / height, frame.x_label, ha="center", fontsize=SMALL + 0.5, color=INK)
    y = (below + _BOTTOM + (height - below - _BOTTOM) / 2) / height
    style: dict[str, Any] = {"rotation": 90, "ha": "left", "va": "center", "fontsize": SMALL + 0.5, "color": INK}
    figure.text(0.04 / width, y, frame.y_label, **style)
