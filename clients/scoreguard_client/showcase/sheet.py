"""The showcase as one static image: a contact sheet with a cell for each defence."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scoreguard_client.showcase import captions
from scoreguard_client.showcase.cards import Card, Pair, Showcase, View
from scoreguard_client.showcase.images import Levels

_INK: Final = "#1d2430"
_SOFT: Final = "#5d6778"
_HIGH: Final = "#b23a22"
_DPI: Final = 120
_COLUMNS: Final = (3, 5)
_TILE: Final = 1.18
_GAP: Final = 0.06
_MARGIN: Final = 0.3
_TITLE: Final = 0.75
_HEADING: Final = 0.4
_CAPTIONS: Final = 0.62
_LABEL_LETTERS: Final = 22
_NOTE_LETTERS: Final = 46
_ERROR_LETTERS: Final = 44
_LETTERS_PER_INCH: Final = 14
_CELL: Final = 2 * _TILE + _GAP


def draw_sheet(showcase: Showcase, path: Path) -> None:
    """Write the sheet as PNG.

    Raises:
        OSError: the file cannot be written.
    """
    sheet_of(showcase).savefig(path, format="png", dpi=_DPI)


def sheet_of(showcase: Showcase) -> Figure:
    """Draw the sheet: the undefended photo first, then the defences in order."""
    cards = (_undefended(showcase), *showcase.cards)
    columns = max(_COLUMNS[0], min(len(cards), _COLUMNS[1]))
    sheet = _Sheet.blank(showcase, columns, math.ceil(len(cards) / columns))
    sheet.title()
    for index, card in enumerate(cards):
        sheet.cell(card, *divmod(index, columns))
    return sheet.figure


def _undefended(showcase: Showcase) -> Card:
    name = "undefended"
    return Card(label=name, chain="none", title=name, random=False, size_preserving=True, pair=showcase.undefended)


@dataclass(frozen=True, kw_only=True)
class _Sheet:
    """A page measured in inches from its upper left corner."""

    showcase: Showcase
    figure: Figure
    width: float
    height: float

    @staticmethod
    def blank(showcase: Showcase, columns: int, rows: int) -> _Sheet:
        width = columns * (_CELL + _MARGIN) + _MARGIN
        height = _TITLE + rows * _cell_height(showcase) + _MARGIN
        figure = Figure(figsize=(width, height), facecolor="white")
        return _Sheet(showcase=showcase, figure=figure, width=width, height=height)

    def title(self) -> None:
        facts = self.showcase.facts
        lines = textwrap.wrap(
            f"Score by {facts.metric_title} of what comes out behind each defence, and its quality (SSIM/2 + PSNR/160) "
            f"against the clean photo. Left clean, right attacked: {captions.attack_line(facts)}. Top right: the gain.",
            int(_LETTERS_PER_INCH * self.width),
        )
        self.text(f"{facts.photo} behind each defence", _MARGIN, 0.2, size=12, weight="bold")
        self.text("\n".join(lines), _MARGIN, 0.44, size=7.5, color=_SOFT)

    def cell(self, card: Card, row: int, column: int) -> None:
        left, top = _MARGIN + column * (_CELL + _MARGIN), _TITLE + row * _cell_height(self.showcase)
        self.text(_short(card.label, _LABEL_LETTERS), left, top, size=9, weight="bold")
        self.text(_short(self._note(card), _NOTE_LETTERS), left, top + 0.19, size=6.5, color=_SOFT)
        if card.pair is None:
            self.text(textwrap.fill(card.error, _ERROR_LETTERS), left, top + _HEADING + 0.1, size=7, color=_HIGH)
            return
        right = {"ha": "right", "weight": "bold", "color": self._gain_colour(card.pair)}
        self.text(captions.gain(card.pair, self.showcase.facts), left + _CELL, top, size=9, **right)
        self._view(card.pair.clean, left, top + _HEADING)
        self._view(card.pair.attacked, left + _TILE + _GAP, top + _HEADING)

    def _view(self, view: View, left: float, top: float) -> None:
        stage = _stage_height(self.showcase)
        share = min(view.width / self.showcase.facts.width, view.height / self.showcase.facts.height, 1.0)
        width, height = _TILE * share, _TILE * share * view.height / view.width
        self.image(view.shown.whole, left + (_TILE - width) / 2, top + (stage - height) / 2, width, height)
        self.image(view.shown.detail, left, top + stage + _GAP, _TILE, _TILE)
        below = top + stage + _TILE + 2 * _GAP
        self.text(captions.score(view, self.showcase.facts), left, below, size=9, weight="bold")
        self.text(f"quality {captions.quality(view)}", left, below + 0.17, size=7, color=_SOFT)
        self.text(captions.fidelity(view), left, below + 0.3, size=7, color=_SOFT)

    def _note(self, card: Card) -> str:
        facts, pair = self.showcase.facts, card.pair
        resized = pair is not None and (pair.clean.width, pair.clean.height) != (facts.width, facts.height)
        parts = ["random" * card.random, captions.size(pair.clean) if pair and resized else ""]
        return " · ".join(filter(None, [*parts, captions.parameters(card)]))

    def _gain_colour(self, pair: Pair) -> str:
        return _HIGH if captions.is_high(pair, self.showcase.undefended, self.showcase.facts) else _INK

    def text(self, text: str, left: float, top: float, *, size: float, **style: Any) -> None:
        look: dict[str, Any] = {"color": _INK, "va": "top", "linespacing": 1.3, "parse_math": False}
        self.figure.text(left / self.width, 1 - top / self.height, text, fontsize=size, **(look | style))

    def image(self, image: Levels, left: float, top: float, width: float, height: float) -> None:
        place = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        axes: Axes = self.figure.add_axes(place)
        axes.imshow(image, aspect="auto", interpolation="antialiased")
        axes.set_axis_off()


def _stage_height(showcase: Showcase) -> float:
    return _TILE * showcase.facts.height / showcase.facts.width


def _cell_height(showcase: Showcase) -> float:
    return _HEADING + _stage_height(showcase) + _GAP + _TILE + _CAPTIONS


def _short(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"
