"""Gain and SROCC by attack and chain, with the clean images: figures 3 and 4 of arXiv 2404.06957."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure as Drawing

from scoreguard.v1.spec import UNDEFENDED
from scoreguard_client.campaign.records import Record
from scoreguard_client.report.build import Report
from scoreguard_client.report.figures.model import Figure
from scoreguard_client.report.figures.selection import clean_once, column, finite, kinds_of, said
from scoreguard_client.report.figures.style import INK, NORMAL, SMALL, lines_of, words_of, wrapped
from scoreguard_client.scores.scaling import Values

_CHAIN: Final = 22
_ATTACK: Final = 26
_CHARACTER: Final = 0.068
_LINE: Final = 0.13
_ROW: Final = 0.25
_COLUMN: Final = 0.44
_NARROWEST: Final = 3.4
_HEAD: Final = 0.32
_LEAST_TOP: Final = 0.8
"""The palest correlation is at most this."""
_CLEAN_WORDS: Final = "clean images, without an attack"


@dataclass(frozen=True, kw_only=True)
class Block:
    """Some rows of a heat map."""

    title: str
    """What they have in common."""
    rows: tuple[str, ...]
    """Their names."""
    values: Values
    """The numbers: (rows, chains), NaN where there is none."""


@dataclass(frozen=True, kw_only=True)
class _Kind:
    key: str
    column: str
    word: str
    meaning: str
    colours: str
    low_is_good: bool


_KINDS: Final = (
    _Kind(
        key="heatmap-gain",
        column="purification_gain",
        word="Gain",
        meaning="how far the defended score of the attacked image is from the clean one; 0 = restored",
        colours="Oranges",
        low_is_good=True,
    ),
    _Kind(
        key="heatmap-srocc",
        column="srocc",
        word="SROCC",
        meaning="rank correlation of clean scores with defended scores of attacked images; 1 = the same order",
        colours="Blues",
        low_is_good=False,
    ),
)


def heatmaps(report: Report) -> Iterator[Figure]:
    """Return a heat map of each kind that has numbers."""
    for kind in _KINDS:
        blocks = blocks_of(report, kind.column)
        if any(np.isfinite(block.values).any() for block in blocks):
            yield _figure(report, kind, blocks)


def blocks_of(report: Report, key: str) -> tuple[Block, ...]:
    """Return a column of the tables by attack and chain: attacks that know the chain, the others, clean images."""
    chains = report.metric.chains
    cells = {(row.attack, row.chain, row.adaptive): row.scores[key].value for row in report.rows if row.scores}
    blocks = []
    for adaptive in kinds_of(report):
        attacks = list(dict.fromkeys(attack for attack, _, kind in cells if kind is adaptive))
        values = [[_cell(cells, (attack, chain, adaptive)) for chain in chains] for attack in attacks]
        names = tuple(textwrap.fill(report.attack_name(attack), _ATTACK) for attack in attacks)
        blocks.append(Block(title=words_of(adaptive=adaptive), rows=names, values=np.array(values)))
    clean = clean_once(record for record in report.records)
    values = [[_of_clean(report, key, [record for record in clean if record.chain == chain]) for chain in chains]]
    return (*blocks, Block(title=_CLEAN_WORDS, rows=("clean",), values=np.array(values)))


def _cell(cells: Mapping[tuple[str, str, bool], float], place: tuple[str, str, bool]) -> float:
    """Return a number; without a defence, the attack that knows none knows all that there is to know."""
    attack, chain, _ = place
    there = (attack, chain, False) if chain == UNDEFENDED else place
    return cells.get(there, float("nan"))


def _of_clean(report: Report, key: str, records: Sequence[Record]) -> float:
    """Return the number of clean images: that of an attack that leaves them as they are."""
    untouched = [replace(record, attacked_defended=record.clean_defended) for record in records]
    return column(report, key, untouched).value if untouched else float("nan")


def _figure(report: Report, kind: _Kind, blocks: Sequence[Block]) -> Figure:
    sentences = [f"{kind.word} by attack and chain ({kind.meaning})."]
    for block in blocks:
        if len(block.rows) > 1 or block is not blocks[-1]:
            sentences.append(_ends(report, kind, block))
        else:
            said_of = (
                f"{report.label(chain)} {said(value)}"
                for chain, value in zip(report.metric.chains, block.values[0], strict=True)
            )
            sentences.append(f"{block.title}: {', '.join(said_of)}.".capitalize())
    return Figure(
        key=kind.key,
        title=f"{kind.word} by attack and chain",
        alt=" ".join(sentence for sentence in sentences if sentence),
        draw=lambda: draw_heatmap(report, kind, blocks),
    )


def _ends(report: Report, kind: _Kind, block: Block) -> str:
    """Name the best and the worst cell of a block."""
    if not np.isfinite(block.values).any():
        return ""
    ends = {"lowest": np.nanargmin(block.values), "highest": np.nanargmax(block.values)}
    told = []
    for word, index in ends.items():
        row, chain = np.unravel_index(index, block.values.shape)
        name = " ".join(block.rows[row].split())
        told.append(
            f"{word} {said(block.values[row, chain])} ({name} behind {report.label(report.metric.chains[chain])})"
        )
    return f"{block.title[0].upper()}{block.title[1:]}: {', '.join(told)}."


def draw_heatmap(report: Report, kind: _Kind, blocks: Sequence[Block]) -> Drawing:
    """Draw the blocks below each other, with the chains above them and every number in its cell."""
    chains = [wrapped(report.label(chain), _CHAIN) for chain in report.metric.chains]
    # Names of chains stand upright, each line of one beside the other.
    column_inches = max(_COLUMN, 0.04 + _LINE * max(map(lines_of, chains)), _NARROWEST / len(chains))
    top = 0.1 + _CHARACTER * max(len(line) for chain in chains for line in chain.split("\n"))
    left = 0.15 + _CHARACTER * max(len(line) for block in blocks for row in block.rows for line in row.split("\n"))
    row_inches = [max(_ROW, 0.06 + _LINE * max(map(lines_of, block.rows))) for block in blocks]
    heights = [_HEAD + len(block.rows) * each for block, each in zip(blocks, row_inches, strict=True)]
    width, height = left + column_inches * len(chains) + 0.1, top + sum(heights) + 0.1
    figure = Drawing(figsize=(width, height))
    scale, colours = _scale(kind, blocks), mpl.colormaps[kind.colours]
    above = height - top
    for index, (block, rows, whole) in enumerate(zip(blocks, row_inches, heights, strict=True)):
        inside = rows * len(block.rows)
        place = (left / width, (above - whole) / height, column_inches * len(chains) / width, inside / height)
        axes = figure.add_axes(place)
        _draw_block(axes, block, scale, colours)
        figure.text(
            left / width, (above - _HEAD + 0.07) / height, block.title, fontsize=NORMAL, color=INK, fontweight="bold"
        )
        if not index:
            for number, chain in enumerate(chains):
                x = (left + column_inches * (number + 0.5)) / width
                y = (above + 0.02) / height
                style: dict[str, Any] = {"ha": "center", "va": "bottom", "ma": "left", "fontsize": NORMAL}
                figure.text(x, y, chain, rotation=90, color=INK, **style)
        above -= whole
    return figure


def _scale(kind: _Kind, blocks: Sequence[Block]) -> Normalize:
    values = finite(np.concatenate([block.values.ravel() for block in blocks]))
    if kind.low_is_good:
        return Normalize(0, max(values) or 1)
    # The numbers stand in the cells, so colours may tell apart what is close together.
    return Normalize(min(math.floor(10 * min(values)) / 10, _LEAST_TOP), 1)


def _draw_block(axes: Axes, block: Block, scale: Normalize, colours: Colormap) -> None:
    rows, chains = block.values.shape
    axes.pcolormesh(np.ma.masked_invalid(block.values), cmap=colours, norm=scale, edgecolors="#ffffff", linewidth=0.7)
    for row, chain in np.ndindex(rows, chains):
        value = float(block.values[row, chain])
        ink = _ink_on(colours(scale(value))) if np.isfinite(value) else INK
        axes.text(
            chain + 0.5, row + 0.5, said(value, 2), ha="center", va="center", fontsize=SMALL, color=ink, clip_on=False
        )
    axes.patch.set_visible(False)
    axes.set_xlim(0, chains)
    axes.set_ylim(rows, 0)
    axes.set_xticks([])
    axes.set_yticks(np.arange(rows) + 0.5, block.rows, fontsize=NORMAL)
    axes.tick_params(length=0, colors=INK)
    for side in axes.spines.values():
        side.set_visible(False)


def _ink_on(colour: tuple[float, float, float, float]) -> str:
    """Return the colour of text that can be read on a colour."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    # Where black and white have the same contrast by WCAG's formula.
    return "#111111" if luminance > 0.179 else "#ffffff"
