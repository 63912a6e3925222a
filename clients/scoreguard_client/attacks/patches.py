"""Square patches of pure colours, one for each image of a batch, and the changes that a random search makes to them.

What changes is drawn on the host; patterns and places are where the images are, so a change that is kept or not
according to scores on a device waits for nothing. Every value is 0 or 1 or a whole number, so nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from scoreguard_client.attacks.best import Marks
from scoreguard_client.oracles.arrays import Put, column, functions, is_host
from scoreguard_client.oracles.base import Images

Numbers = npt.NDArray[np.int64]
"""Whole numbers for each image, (N,) or (N, 2): rows and columns."""
_COLOURS: Final = 8


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Rows and columns of an image and of a patch, counted once."""

    rows: Any
    """Of the image, (1, 1, H, 1)."""
    columns: Any
    """Of the image, (1, 1, 1, W)."""

    @classmethod
    def of(cls, height: int, width: int, put: Put) -> Grid:
        """Count rows and columns, where `put` copies them."""
        return cls(rows=put(np.arange(height).reshape(1, 1, -1, 1)), columns=put(np.arange(width).reshape(1, 1, 1, -1)))

    def window(self, corners: Numbers, side: int) -> tuple[Any, Any, Any]:
        """Return each pixel's row and column in a square of each image, and whether it is inside.

        Args:
            corners: row and column of the squares' upper left pixels, (N, 2).
            side: of the squares, in pixels.
        """
        rows, columns = self.rows - column(corners[:, 0]), self.columns - column(corners[:, 1])
        return rows, columns, (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)


@dataclass(frozen=True, kw_only=True)
class Patches:
    """A pattern somewhere in each image."""

    patterns: Images
    """(N, 3, s, s), 0 or 1."""
    places: Numbers
    """Row and column of the upper left pixels, (N, 2)."""
    image: Grid
    """The pixels of an image."""
    own: Grid
    """The pixels of a pattern."""
    bits: Images
    """What each channel counts for in the number of a colour, (1, 3, 1, 1): 1, 2 and 4."""

    @classmethod
    def of(cls, patterns: Images, places: Numbers, size: Sequence[int], put: Put) -> Patches:
        """Take NumPy arrays to where `put` copies them.

        Args:
            patterns: (N, 3, s, s), 0 or 1.
            places: (N, 2).
            size: height and width of the images.
            put: copies arrays.
        """
        side, (height, width) = patterns.shape[2], size
        return cls(
            patterns=put(patterns),
            places=put(places),
            image=Grid.of(height, width, put),
            own=Grid.of(side, side, put),
            bits=put(np.array([1, 2, 4], dtype=np.float32).reshape(1, 3, 1, 1)),
        )

    @property
    def side(self) -> int:
        """Rows and columns of a pattern."""
        return int(self.patterns.shape[2])

    def on(self, images: Images) -> Images:
        """Copy images (N, 3, H, W) and put the patches on them."""
        if is_host(images):
            patched = images.copy()
            for image, pattern, (top, left) in zip(patched, self.patterns, self.places, strict=True):
                image[:, top : top + self.side, left : left + self.side] = pattern
            return patched
        library, last = functions(images), self.side - 1
        rows, columns, inside = self.image.window(self.places, self.side)
        laid = library.take_along_axis(self.patterns, library.clip(rows, 0, last), axis=2)
        laid = library.take_along_axis(laid, library.clip(columns, 0, last), axis=3)
        covered: Images = library.where(inside, laid, images)
        return covered

    def moved(self, shifts: Numbers, most: Numbers) -> Patches:
        """Move the patches by (N, 2) rows and columns, no further than 0 to `most`, (1, 2)."""
        library = functions(shifts)
        return replace(self, places=library.minimum(library.clip(self.places + shifts, 0, None), most))

    def coloured(self, corners: Numbers, colours: Images, side: int) -> Patches:
        """Give a square of each pattern one colour, (N, 3, 1, 1)."""
        return self._with(corners, side, colours)

    def recoloured(self, corners: Numbers, steps: Images) -> Patches:
        """Give one pixel of each pattern the colour 1 to 7 steps on, (N, 1, 1, 1), in the circle of all eight."""
        library = functions(self.patterns)
        others = (library.sum(self.patterns * self.bits, axis=1, keepdims=True) + steps) % _COLOURS
        return self._with(corners, 1, library.floor(others / self.bits) % 2)

    def flipped(self, corners: Numbers, channels: Images) -> Patches:
        """Flip one pixel of each pattern in the channels that are 1, (N, 3, 1, 1)."""
        chosen = functions(channels).where
        return self._with(corners, 1, chosen(channels > 0, 1 - self.patterns, self.patterns))

    def kept(self, where: Marks, others: Patches) -> Patches:
        """Return the other patches where marked, else these."""
        chosen = functions(where).where
        return replace(
            self,
            patterns=chosen(column(where), others.patterns, self.patterns),
            places=chosen(where.reshape(-1, 1), others.places, self.places),
        )

    def _with(self, corners: Numbers, side: int, values: Images) -> Patches:
        _, _, inside = self.own.window(corners, side)
        return replace(self, patterns=functions(inside).where(inside, values, self.patterns))
