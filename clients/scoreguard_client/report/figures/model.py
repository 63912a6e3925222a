"""A figure as a value: what it shows in words, and how it is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure as Drawing

from scoreguard_client.report.figures.saving import drawn, write_drawing
from scoreguard_client.report.figures.svg import svg_of

SUFFIXES: Final = ("svg", "pdf", "png")
"""Forms of a figure's files."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of a report."""

    key: str
    """Unique in a report, and the name of its files: `heatmap-gain`; with several metrics the metric is in front."""
    title: str
    """For people."""
    alt: str
    """What it shows, with its main numbers, for whoever does not see it."""
    draw: Callable[[], Drawing]
    """Draws it anew."""
    metric: str = ""
    """Name of the metric that it is about."""

    def svg(self) -> str:
        """Return it as one SVG element to be put into a page: no prolog, no link; the same text each time."""
        return svg_of(self._drawing, key=self.key, title=self.title, description=self.alt)

    def write(self, folder: Path) -> None:
        """Write its files `KEY.svg`, `KEY.pdf` and `KEY.png`: the same bytes each time."""
        (folder / f"{self.key}.svg").write_text(self.svg(), encoding="utf-8")
        for suffix in SUFFIXES[1:]:
            write_drawing(self._drawing, folder / f"{self.key}.{suffix}", title=self.title)

    @cached_property
    def _drawing(self) -> Drawing:
        """The drawing, which a page and the files have in common: to draw takes longer than to write."""
        return drawn(self.draw)
