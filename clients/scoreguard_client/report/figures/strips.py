"""The effect of one attack on an image: clean, attacked, purified, with their scores."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure as Drawing

from scoreguard_client.report.exhibits import Exhibit
from scoreguard_client.report.figures.saving import DPI
from scoreguard_client.report.figures.style import INK, WRAP

_TILE_INCHES: Final = 2.2
_CAPTION_INCHES: Final = 1.2


def draw_exhibit(exhibit: Exhibit, path: Path) -> None:
    """Draw one attack on one image as a strip: clean, attacked, purified, amplified difference, with their scores."""
    height, width, _ = exhibit.tiles[0].image.shape
    size = (_TILE_INCHES * len(exhibit.tiles), _TILE_INCHES * height / width + _CAPTION_INCHES)
    figure = Drawing(figsize=size, layout="constrained")
    for panel, tile in zip(figure.subplots(1, len(exhibit.tiles), squeeze=False)[0], exhibit.tiles, strict=True):
        panel.imshow(tile.image, interpolation="none")
        panel.set_title(textwrap.fill(tile.title, WRAP), fontsize=9, color=INK)
        panel.set_xlabel(f"{tile.score}\n{tile.note}".strip(), fontsize=9, color=INK)
        panel.set_xticks([])
        panel.set_yticks([])
    figure.suptitle(f"{exhibit.title} on {exhibit.image}", fontsize=10, color=INK, x=0.01, ha="left")
    figure.savefig(path, dpi=DPI)
