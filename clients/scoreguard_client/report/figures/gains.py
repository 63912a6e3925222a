"""Absolute gain by attack and chain, as bars with intervals."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import MaxNLocator

from scoreguard_client.report.build import Report
from scoreguard_client.report.figures.model import Figure
from scoreguard_client.report.figures.saving import DPI
from scoreguard_client.report.figures.selection import kinds_of, said
from scoreguard_client.report.figures.style import (
    ADAPTIVE,
    AWARE_WORDS,
    INK,
    LEGEND,
    PLAIN,
    PLAIN_WORDS,
    WRAP,
    bare,
    colour_of,
    lines_of,
    swatch,
    wrapped,
)
from scoreguard_client.report.table import Row

_PANELS: Final = 5
_TICKS: Final = 4
_LINE_INCHES: Final = 0.15
_BAR_INCHES: Final = 0.3
_FEW: Final = 8
"""Names of more chains have longer lines, and so fewer of them."""
_WIDER: Final = 40


def draw_gains(report: Report, path: Path) -> None:
    """Write the chart of the gains as PNG."""
    gains_figure(report).savefig(path, dpi=DPI)


def gains(report: Report) -> Iterator[Figure]:
    """Return the chart of the gains, if there is a gain."""
    rows = [row for row in report.rows if row.scores and math.isfinite(row.scores["absolute_gain"].value)]
    if not rows:
        return
    sentences = ["Absolute gain of the served score, as a share of the scale, by attack and chain."]
    for adaptive in kinds_of(report):
        mine = [row for row in rows if row.adaptive is adaptive]
        if mine:
            ends = [(_named(report, row), _value(row)) for row in (max(mine, key=_value), min(mine, key=_value))]
            who = "Attacks that know the chain" if adaptive else "Attacks crafted on the metric alone"
            (most, high), (least, low) = ends
            sentences.append(f"{who} gain the most, {said(high)}, by {most}, and the least, {said(low)}, by {least}.")
    yield Figure(
        key="gains",
        title="Absolute gain by attack and chain",
        alt=" ".join(sentences),
        draw=lambda: gains_figure(report),
    )


def _value(row: Row) -> float:
    return row.scores["absolute_gain"].value


def _named(report: Report, row: Row) -> str:
    return f"{report.attack_name(row.attack)} behind {report.label(row.chain)}"


def gains_figure(report: Report) -> Drawing:
    """Draw absolute gains with intervals: one panel per attack, at most five in a line, one bar per chain."""
    attacks = list(dict.fromkeys(row.attack for row in report.rows))
    chains = list(dict.fromkeys(row.chain for row in report.rows))
    labels = [wrapped(report.label(chain), WRAP if len(chains) <= _FEW else _WIDER) for chain in chains]
    lines = math.ceil(len(attacks) / _PANELS)
    columns = math.ceil(len(attacks) / lines)
    # A line of text takes more room than a pair of bars only where names are long.
    bars = len(chains) * max(_BAR_INCHES, _LINE_INCHES * max(map(lines_of, labels)))
    figure = Drawing(figsize=(max(2.6 * columns + 1.8, 6.0), 0.7 + lines * (0.65 + bars)), layout="constrained")
    grid = figure.subplots(lines, columns, sharey=True, sharex=True, squeeze=False)
    panels = list(grid.flat)
    for panel in panels[len(attacks) :]:
        panel.remove()
    for panel, attack in zip(panels, attacks, strict=False):
        _draw_panel(panel, [row for row in report.rows if row.attack == attack and row.scores], chains)
        title = textwrap.fill(report.attack_name(attack), WRAP)
        panel.set_title(title, fontsize=10, color=INK, loc="left", fontweight="bold")
    panels[0].xaxis.set_major_locator(MaxNLocator(nbins=_TICKS, min_n_ticks=2))
    for panel in grid[:, 0]:
        panel.set_yticks(range(len(chains)), labels, fontsize=8)
    for panel in panels[: len(attacks)]:
        panel.yaxis.set_visible(panel in grid[:, 0])
    panels[0].set_ylim(len(chains) - 0.5, -0.5)
    whiskers = any(math.isfinite(row.scores["absolute_gain"].low) for row in report.rows if row.scores)
    of_what = "; whiskers: 95 % interval" if whiskers else "; n too small for intervals"
    figure.supxlabel(f"absolute gain of the served score, share of the scale{of_what}", fontsize=8, color=INK)
    if any(row.adaptive for row in report.rows):
        handles = [swatch(ADAPTIVE), swatch(PLAIN)]
        figure.legend(handles, [AWARE_WORDS, PLAIN_WORDS], loc="outside upper right", ncols=2, labelcolor=INK, **LEGEND)
    return figure


def _draw_panel(panel: Axes, rows: Sequence[Row], chains: Sequence[str]) -> None:
    bare(panel, grid="x")
    adapted = {row.chain for row in rows if row.adaptive}
    there = [row for row in rows if math.isfinite(_value(row))]
    # The bar of the attack that knows the chain is the upper one.
    places = [chains.index(row.chain) + (row.chain in adapted) * (-0.2 if row.adaptive else 0.2) for row in there]
    colours = [colour_of(adaptive=row.adaptive) for row in there]
    panel.barh(places, [_value(row) for row in there], 0.36 if adapted else 0.6, color=colours, zorder=2)
    gains = [row.scores["absolute_gain"] for row in there]
    panel.hlines(
        places, [gain.low for gain in gains], [gain.high for gain in gains], color=INK, linewidth=1.1, zorder=3
    )
    panel.axvline(0, color=INK, linewidth=0.8, zorder=3)
    for inside in (*panel.patches, *panel.lines, *panel.collections):
        inside.set_in_layout(False)  # data is inside its axes: measuring each bar takes most of the time
    # Panels share one axis, so matplotlib would number only the last line, which may not be full.
    panel.tick_params(axis="x", labelbottom=True)
