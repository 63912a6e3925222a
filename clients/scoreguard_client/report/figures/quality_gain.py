"""Quality of purified images against Gain, a point a chain: figure 6a of arXiv 2404.06957."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import MaxNLocator

from scoreguard.v1.spec import UNDEFENDED
from scoreguard_client.report.build import Report
from scoreguard_client.report.figures.labels import place_labels
from scoreguard_client.report.figures.model import Figure
from scoreguard_client.report.figures.selection import column, pools_of, said
from scoreguard_client.report.figures.style import (
    INK,
    MUTED,
    NORMAL,
    SMALL,
    bare,
    colour_of,
    lines_of,
    words_of,
    wrapped,
)

_NAMED: Final = 8
"""Up to so many chains have their names beside their points; more have numbers, and a list below."""
_LONGEST: Final = 24
_LIST: Final = 34
_LINE: Final = 0.15
_SIZE: Final = (4.4, 2.6)
_LEFT: Final = 0.55
_HEAD: Final = 0.28
_BOTTOM: Final = 0.42


@dataclass(frozen=True, kw_only=True)
class Point:
    """A chain against one kind of attacker."""

    chain: str
    """The chain."""
    adaptive: bool
    """Whether the attacks knew it."""
    gain: float
    """Its Gain over all attacked images."""
    quality: float
    """The Quality of its purified attacked images."""


def quality_gain(report: Report) -> Iterator[Figure]:
    """Return the figure, if there are two chains with both numbers."""
    points = points_of(report)
    if len({point.chain for point in points}) < 2:
        return
    sentences = ["Quality of the purified images (high is good) against Gain (low is good), a point a chain."]
    for adaptive in kinds_of_points(points):
        mine = sorted((point for point in points if point.adaptive is adaptive), key=lambda point: point.gain)
        numbers = (f"{report.label(point.chain)} {said(point.gain)} and {said(point.quality)}" for point in mine)
        sentences.append(f"{'Adaptive' if adaptive else 'Unaware'}, Gain and Quality: {', '.join(numbers)}.")
    yield Figure(
        key="quality-gain",
        title="Quality against Gain",
        alt=" ".join(sentences),
        draw=lambda: draw_points(report, points),
    )


def points_of(report: Report) -> list[Point]:
    """Return the chains that have both numbers."""
    every = [
        Point(
            chain=chain,
            adaptive=adaptive,
            gain=column(report, "purification_gain", records).value,
            quality=column(report, "quality_score", records).value,
        )
        for (chain, adaptive), records in pools_of(report).items()
    ]
    return [point for point in every if math.isfinite(point.gain) and math.isfinite(point.quality)]


def kinds_of_points(points: Sequence[Point]) -> list[bool]:
    """Return the kinds of attackers that there are points of, the one that knows the chain first."""
    return sorted({point.adaptive for point in points}, reverse=True)


def draw_points(report: Report, points: Sequence[Point]) -> Drawing:
    """Draw the points, a panel for each kind of attacker."""
    kinds, chains = kinds_of_points(points), list(dict.fromkeys(point.chain for point in points))
    names = {chain: report.label(chain) for chain in chains}
    numbered = len(chains) > _NAMED or max(map(len, names.values())) > _LONGEST
    texts = {chain: str(place + 1) if numbered else names[chain] for place, chain in enumerate(chains)}
    listed = [(texts[chain], wrapped(names[chain], _LIST)) for chain in chains] if numbered else []
    halves = [listed[: math.ceil(len(listed) / 2)], listed[math.ceil(len(listed) / 2) :]]
    list_inches = _LINE * max(sum(lines_of(name) for _, name in half) for half in halves) + 0.1 * numbered
    width = _LEFT + _SIZE[0] + 0.15
    height = len(kinds) * (_SIZE[1] + _HEAD) + _BOTTOM + list_inches
    figure = Drawing(figsize=(width, height))
    for place, adaptive in enumerate(kinds):
        bottom = height - (place + 1) * (_SIZE[1] + _HEAD)
        axes = figure.add_axes((_LEFT / width, bottom / height, _SIZE[0] / width, _SIZE[1] / height))
        _draw_panel(axes, points, texts, adaptive=adaptive)
        axes.tick_params(labelbottom=place == len(kinds) - 1)
    middle = (list_inches + _BOTTOM + height) / 2 / height
    style: dict[str, Any] = {"fontsize": SMALL + 0.5, "color": INK}
    figure.text(0.04 / width, middle, "Quality of the purified image, high is good", rotation=90, va="center", **style)
    x = (_LEFT + _SIZE[0] / 2) / width
    figure.text(x, (list_inches + 0.1) / height, "Gain, 0 = clean score restored", ha="center", **style)
    for place, half in enumerate(halves):
        _write_list(figure, half, left=0.1 + place * width / 2, top=list_inches - 0.02)
    return figure


def _write_list(figure: Drawing, listed: Sequence[tuple[str, str]], *, left: float, top: float) -> None:
    """Write numbers with the names that they stand for; places are in inches."""
    width, height = figure.get_size_inches()
    for number, name in listed:
        for x, text in ((left, number), (left + 0.22, name)):
            figure.text(x / width, top / height, text, va="top", fontsize=SMALL + 0.5, color=INK, linespacing=1.2)
        top -= _LINE * lines_of(name)


def _draw_panel(axes: Axes, points: Sequence[Point], texts: dict[str, str], *, adaptive: bool) -> None:
    bare(axes)
    for span, values in ((axes.set_xlim, [p.gain for p in points]), (axes.set_ylim, [p.quality for p in points])):
        pad = 0.12 * (max(values) - min(values)) or 0.1
        span(min(values) - pad, max(values) + pad)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10], min_n_ticks=2))
    mine = [point for point in points if point.adaptive is adaptive]
    colours = [MUTED if point.chain == UNDEFENDED else colour_of(adaptive=adaptive) for point in mine]
    axes.scatter([p.gain for p in mine], [p.quality for p in mine], s=22, c=colours, linewidths=0, zorder=3)
    axes.set_title(words_of(adaptive=adaptive), fontsize=NORMAL, color=INK, loc="left", fontweight="bold")
    where = [(point.gain, point.quality) for point in mine]
    place_labels(axes, where, [texts[point.chain] for point in mine], size=SMALL)
