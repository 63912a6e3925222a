"""Large images in tiles: each tile is read with an overlap and only its inner part is kept.

If the overlap is at least the radius of the graph's receptive field, the joined image equals the graph's output for the
whole image; memory is that of one tile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from scoreguard.v1.manifest_pb2 import Tiling

A = TypeVar("A")
"""An array of any library: (N, C, H, W), with slicing."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """One tile along one axis, in pixels of the image."""

    start: int
    """First pixel that is read."""
    stop: int
    """Pixel after the last that is read."""
    first: int
    """First pixel that is kept."""
    end: int
    """Pixel after the last that is kept."""

    @property
    def kept(self) -> slice:
        """The kept pixels, relative to the pixels read."""
        return slice(self.first - self.start, self.end - self.start)


def spans(length: int, tiling: Tiling) -> list[Span]:
    """Tiles along an axis of `length` pixels, in order; one if the axis is no longer than a tile.

    Tiles begin at multiples of `tiling.multiple`, so a graph that works in blocks sees the blocks of the image.
    """
    if length <= tiling.size:
        return [Span(start=0, stop=length, first=0, end=length)]
    step = tiling.size - 2 * tiling.overlap
    step -= step % max(tiling.multiple, 1)
    return [_span(first, min(first + step, length), length, tiling) for first in range(0, length, step)]


def _span(first: int, end: int, length: int, tiling: Tiling) -> Span:
    block = max(tiling.multiple, 1)
    start = max(first - tiling.overlap, 0)
    # Every tile has the full size: the last ones begin further back, so no tile is too small to read.
    start = max(min(start, length - tiling.size), 0)
    start -= start % block
    return Span(start=start, stop=min(end + tiling.overlap, length), first=first, end=end)


def in_tiles(
    images: A, tiling: Tiling, work: Callable[[A, slice, slice], A], join: Callable[[Sequence[A], int], A]
) -> A:
    """Process each tile of a batch and join the kept parts.

    Args:
        images: (N, C, H, W).
        tiling: size and overlap of the tiles.
        work: maps a tile, and its rows and columns in the image, to a result of the tile's size.
        join: concatenates arrays along an axis.
    """
    batch: Any = images
    height, width = (int(length) for length in batch.shape[2:])

    def piece(down: Span, across: Span) -> A:
        rows, columns = slice(down.start, down.stop), slice(across.start, across.stop)
        done: Any = work(batch[:, :, rows, columns], rows, columns)
        kept: A = done[:, :, down.kept, across.kept]
        return kept

    columns = spans(width, tiling)
    return join([join([piece(down, across) for across in columns], 3) for down in spans(height, tiling)], 2)
