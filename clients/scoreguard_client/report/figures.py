"""The report's figures: absolute gain by attack and defence, and the effect of an attack on an image."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from scoreguard_client.report.build import Report
from scoreguard_client.report.exhibits import Exhibit
from scoreguard_client.report.table import Row

PLAIN: Final = "#2f6db5"
ADAPTIVE: Final = "#c8553d"
_INK: Final = "#222222"
_GRID: Final = "#d9dde3"
_DPI: Final = 120
_WRAP: Final = 22
_PANELS: Final = 5
_TICKS: Final = 4
_TILE_INCHES: Final = 2.2
_CAPTION_INCHES: Final = 1.2


def draw_gains(report: Report, path: Path) -> None:
    """Write the chart of the gains as PNG."""
    gains_figure(report).savefig(path, dpi=_DPI)


def gains_figure(report: Report) -> Figure:
    """Draw absolute gains with intervals: one panel per attack, at most five in a line, one bar per chain."""
    attacks = list(dict.fromkeys(row.attack for row in report.rows))
    chains = list(dict.fromkeys(row.chain for row in report.rows))
    lines = math.ceil(len(attacks) / _PANELS)
    columns = math.ceil(len(attacks) / lines)
    size = (max(2.6 * columns + 1.8, 6.0), 0.7 + lines * (0.65 + 0.44 * len(chains)))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(lines, columns, sharey=True, sharex=True, squeeze=False)
    panels = list(grid.flat)
    for panel in panels[len(attacks) :]:
        panel.remove()
    for panel, attack in zip(panels, attacks, strict=False):
        _draw_panel(panel, [row for row in report.rows if row.attack == attack and row.scores], chains)
        title = textwrap.fill(report.attack_name(attack), _WRAP)
        panel.set_title(title, fontsize=10, color=_INK, loc="left", fontweight="bold")
    panels[0].xaxis.set_major_locator(MaxNLocator(nbins=_TICKS, min_n_ticks=2))
    for panel in grid[:, 0]:
        panel.set_yticks(range(len(chains)), [_wrapped(report.label(chain)) for chain in chains], fontsize=8)
    panels[0].invert_yaxis()
    whiskers = any(math.isfinite(row.scores["absolute_gain"].low) for row in report.rows if row.scores)
    of_what = "; whiskers: 95 % interval" if whiskers else "; n too small for intervals"
    figure.supxlabel(f"absolute gain of the served score, share of the scale{of_what}", fontsize=8)
    if any(row.adaptive for row in report.rows):
        handles = [_swatch(PLAIN), _swatch(ADAPTIVE)]
        figure.legend(handles, ["crafted on the metric alone", "knows the defence"], **_LEGEND)
    return figure


def _wrapped(chain: str) -> str:
    """Break a chain into lines, at its steps if possible."""
    return textwrap.fill(chain.replace("+", "+ "), _WRAP).replace("+ ", "+")


_LEGEND: Final[dict[str, Any]] = {"loc": "outside upper right", "ncols": 2, "fontsize": 8, "frameon": False}


def _swatch(colour: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=colour)


def _draw_panel(panel: Axes, rows: Sequence[Row], chains: Sequence[str]) -> None:
    adapted = {row.chain for row in rows if row.adaptive}
    for row in rows:
        gain = row.scores["absolute_gain"]
        if not np.isfinite(gain.value):
            continue
        shift = (0.2 if row.adaptive else -0.2) if row.chain in adapted else 0.0
        place, colour = chains.index(row.chain) + shift, ADAPTIVE if row.adaptive else PLAIN
        panel.barh(place, gain.value, 0.36 if adapted else 0.6, color=colour, zorder=2)
        if np.isfinite(gain.low):
            panel.plot([gain.low, gain.high], [place, place], color=_INK, linewidth=1.1, zorder=3)
    panel.axvline(0, color=_INK, linewidth=0.8, zorder=3)
    panel.grid(axis="x", color=_GRID, linewidth=0.7, zorder=0)
    panel.tick_params(labelsize=8, length=0, colors=_INK)
    # Panels share one axis, so matplotlib would number only the last line, which may not be full.
    panel.tick_params(axis="x", labelbottom=True)
    for side in panel.spines.values():
        side.set_visible(False)


def draw_exhibit(exhibit: Exhibit, path: Path) -> None:
    """Draw one attack on one image as a strip: clean, attacked, purified, amplified difference, with their scores."""
    height, width, _ = exhibit.tiles[0].image.shape
    size = (_TILE_INCHES * len(exhibit.tiles), _TILE_INCHES * height / width + _CAPTION_INCHES)
    figure = Figure(figsize=size, layout="constrained")
    for panel, tile in zip(figure.subplots(1, len(exhibit.tiles), squeeze=False)[0], exhibit.tiles, strict=True):
        panel.imshow(tile.image, interpolation="none")
        panel.set_title(textwrap.fill(tile.title, _WRAP), fontsize=9, color=_INK)
        panel.set_xlabel(f"{tile.score}\n{tile.note}".strip(), fontsize=9, color=_INK)
        panel.set_xticks([])
        panel.set_yticks([])
    figure.suptitle(f"{exhibit.title} on {exhibit.image}", fontsize=10, color=_INK, x=0.01, ha="left")
    figure.savefig(path, dpi=_DPI)
