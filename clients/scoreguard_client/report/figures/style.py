"""Colours and habits that all figures share."""

from __future__ import annotations

import re
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

INK: Final = "#222222"
"""Text and axes; in a page, the page's own colour of text."""
GRID: Final = "#9aa3ad55"
"""Lines behind the data, on a light page as on a dark one."""
MUTED: Final = "#7d8792"
"""What is there to compare with."""
PLAIN: Final = "#2f6db5"
"""Attacks that do not know the chain."""
ADAPTIVE: Final = "#c8553d"
"""Attacks that know it. Blue and vermilion stay apart for every kind of colour vision, and in print."""
LINES: Final[tuple[tuple[str, Any], ...]] = (
    ("#0072b2", "solid"),
    ("#d55e00", "solid"),
    ("#009e73", (0, (5, 1.5))),
    ("#cc79a7", (0, (5, 1.5))),
    ("#e69f00", (0, (3, 1, 1, 1))),
    ("#56b4e9", (0, (3, 1, 1, 1))),
)
"""Colours of Okabe and Ito, which every kind of colour vision tells apart, each with dashes."""
SMALL: Final = 7.5
"""Size of numbers and ticks, in points."""
NORMAL: Final = 8.5
"""Size of names and labels, in points."""
WRAP: Final = 22
"""Characters in a line of a name."""
LEGEND: Final[dict[str, Any]] = {"fontsize": NORMAL, "frameon": False}
AWARE_WORDS: Final = "adaptive: knows the chain"
PLAIN_WORDS: Final = "unaware: crafted on the metric alone"


def words_of(*, adaptive: bool) -> str:
    """Name a kind of attacker."""
    return AWARE_WORDS if adaptive else PLAIN_WORDS


def colour_of(*, adaptive: bool) -> str:
    """Return the colour of a kind of attacker."""
    return ADAPTIVE if adaptive else PLAIN


def wrapped(chain: str, width: int = WRAP) -> str:
    """Break a chain into lines: between its steps if these fit, else also between their parameters."""
    lines: list[str] = []
    for step in re.findall(r"[^+]+\+?", chain):
        fits = len(step) <= width
        for part in [step] if fits else re.findall(r"(?:[^:]|:(?=[0-9]))+:?", step):
            if lines and not (lines[-1].endswith("+") and not fits) and len(lines[-1] + part) <= width:
                lines[-1] += part
            else:
                lines.append(part)
    return "\n".join(lines)


def lines_of(text: str) -> int:
    """Count the lines of a text."""
    return text.count("\n") + 1


def bare(axes: Axes, *, grid: str = "both") -> None:
    """Remove what is no data from axes, and put a light grid behind it."""
    axes.patch.set_visible(False)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=GRID, linewidth=0.7)  # type: ignore[arg-type]
    axes.tick_params(labelsize=SMALL, length=0, colors=INK)


def swatch(colour: str) -> Patch:
    """Return a legend's mark for an area."""
    return Patch(color=colour)


def line_mark(color: str, **style: Any) -> Line2D:
    """Return a legend's mark for a line."""
    return Line2D([], [], color=color, markersize=3.5, **style)
