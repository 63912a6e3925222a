"""Labels beside points of a plot, where they cover neither each other nor a point."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from scoreguard_client.report.figures.style import INK, MUTED

_DISTANCES: Final = (4.0, 7.0, 10.0, 15.0, 22.0, 32.0, 45.0, 60.0, 80.0, 105.0)
"""How far from its point a label may be, in points, the nearest first."""
_DIRECTIONS: Final = 16
_LINKED_FROM: Final = 15.0
"""From this distance on a line leads from the label to its point."""
_NEARER: Final = 1.6
"""A label is so many times farther from other points than from its own, if there is such a place."""
_CLEAR: Final = 1.5
"""Pixels around everything."""


Spot = tuple[float, float]
"""A place or an extent in pixels, across and up."""


def place_labels(axes: Axes, points: Sequence[tuple[float, float]], texts: Sequence[str], *, size: float) -> None:
    """Write a text beside each point.

    Args:
        axes: where; their place in the figure and their ends must be final.
        points: the points, in the units of the axes.
        texts: one for each point.
        size: of the texts, in points of type.
    """
    figure = cast("Figure", axes.get_figure(root=True))
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    pixels, room = figure.dpi / 72, axes.get_window_extent()
    spots = [tuple(spot) for spot in axes.transData.transform(points)]
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in spots]
    for (x, y), text, point in sorted(zip(spots, texts, points, strict=True)):
        label = axes.annotate(text, point, xytext=(0, 0), textcoords="offset points", fontsize=size, color=INK)
        label.set(ha="center", va="center", zorder=4)
        box = label.get_window_extent(renderer)
        half = box.width / 2 + _CLEAR, box.height / 2 + _CLEAR
        others = [spot for spot in spots if spot != (x, y)]
        best = min(_offsets(half, pixels), key=lambda offset: _cost((x, y), offset, half, taken, others, room))
        taken.append(_box((x, y), best, half))
        label.set_position((best[0] / pixels, best[1] / pixels))
        if math.hypot(*best) / pixels > _LINKED_FROM + max(half) / pixels:
            _link(axes, label)


def _offsets(half: Spot, pixels: float) -> Iterator[Spot]:
    """Yield the places of a label's middle relative to its point, in pixels."""
    for distance in _DISTANCES:
        for number in range(_DIRECTIONS):
            angle = 2 * math.pi * number / _DIRECTIONS
            across, up = math.cos(angle), math.sin(angle)
            yield across * (distance * pixels + half[0]), up * (distance * pixels + half[1])


def _cost(
    spot: Spot, offset: Spot, half: Spot, taken: Sequence[Bbox], others: Sequence[Spot], room: Bbox
) -> tuple[float, float, float]:
    """Rank a place: by what it would cover or leave the axes by, whose it might seem to be, and how far it is."""
    box = _box(spot, offset, half)
    covered = sum(_overlap(box, other) for other in taken)
    outside = box.width * box.height - _overlap(box, room)
    own = _distance(box, spot)
    return covered + outside, sum(_distance(box, other) < _NEARER * own for other in others), own


def _distance(box: Bbox, spot: Spot) -> float:
    across = max(box.x0 - spot[0], spot[0] - box.x1, 0.0)
    return math.hypot(across, max(box.y0 - spot[1], spot[1] - box.y1, 0.0))


def _box(spot: Spot, offset: Spot, half: Spot) -> Bbox:
    return Bbox.from_bounds(spot[0] + offset[0] - half[0], spot[1] + offset[1] - half[1], 2 * half[0], 2 * half[1])


def _overlap(one: Bbox, other: Bbox) -> float:
    across = min(one.x1, other.x1) - max(one.x0, other.x0)
    up = min(one.y1, other.y1) - max(one.y0, other.y0)
    return float(max(across, 0.0) * max(up, 0.0))


def _link(axes: Axes, label: Annotation) -> None:
    style: Any = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}
    axes.annotate("", label.xy, xytext=label.get_position(), textcoords="offset points", arrowprops=style)
