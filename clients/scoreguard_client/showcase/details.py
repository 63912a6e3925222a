"""The detail: a small part of the photo shown pixel by pixel, and its position after a defence.

A defence may shrink, crop, rotate or mirror the image. The detail then follows the content, by normalised
cross-correlation of grey images, including mirrored forms; if nothing resembles it, it stays at the same share of
height and width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from skimage.feature import match_template
from skimage.transform import resize

from scoreguard_client._models import FloatImage
from scoreguard_client.showcase.errors import ShowcaseError

Grey = npt.NDArray[np.float32]

SIDES: Final = (32, 96)
"""Smallest and largest side of an automatically chosen detail, in pixels."""
_SHARE: Final = 4
_MARGIN: Final = 0.2
_SAME: Final = 0.5
_SEARCHED: Final = 320


@dataclass(frozen=True, kw_only=True)
class Window:
    """A rectangle of an image, in pixels."""

    left: int
    top: int
    width: int
    height: int

    def cut(self, image: FloatImage) -> FloatImage:
        """Cut this part out of an image (H, W, ...)."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]

    def grown(self, border: int) -> Window:
        """Return the rectangle enlarged by this many pixels on every side."""
        left, top = self.left - border, self.top - border
        return Window(left=left, top=top, width=self.width + 2 * border, height=self.height + 2 * border)

    def fits(self, image: FloatImage) -> bool:
        """Whether all of it is inside an image."""
        height, width = image.shape[:2]
        inside = self.left >= 0 and self.top >= 0 and self.width > 0 and self.height > 0
        return inside and self.left + self.width <= width and self.top + self.height <= height


def parse_window(text: str, image: FloatImage) -> Window:
    """Read `X,Y,SIDE`: a square of the photo, in pixels from its upper left corner.

    Raises:
        ShowcaseError: it cannot be read, or is not inside the photo.
    """
    height, width = image.shape[:2]
    try:
        left, top, side = map(int, text.split(","))
    except ValueError:
        raise ShowcaseError(f"--detail is X,Y,SIDE in pixels, for example 40,60,96, not {text!r}") from None
    window = Window(left=left, top=top, width=side, height=side)
    if not window.fits(image):
        raise ShowcaseError(f"--detail {text} is not inside the photo of {width} x {height} pixels")
    return window


def busiest(image: FloatImage) -> Window:
    """Find the square with the most structure, away from the borders, which a crop may remove."""
    height, width = image.shape[:2]
    side = min(max(min(height, width) // _SHARE, SIDES[0]), SIDES[1], height, width)
    activity = _activity(image)
    lefts, tops = (_places(length, side) for length in (width, height))
    sums = np.pad(activity.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    rows, columns = np.meshgrid(tops, lefts, indexing="ij")
    inside = sums[rows + side, columns + side] - sums[rows, columns + side] - sums[rows + side, columns]
    row, column = np.unravel_index(np.argmax(inside + sums[rows, columns]), rows.shape)
    return Window(left=int(lefts[column]), top=int(tops[row]), width=side, height=side)


def follow(window: Window, photo: FloatImage, purified: FloatImage) -> Window:
    """Find a window of the photo in the purified image."""
    there = _same_share(window, photo, purified)
    if _resemblance(window.cut(photo), there.cut(purified)) >= _SAME:
        return there
    return _search(window, photo, purified) or there


def _activity(image: FloatImage) -> npt.NDArray[np.float64]:
    grey = _grey(image).astype(np.float64)
    rows, columns = (np.abs(np.diff(grey, axis=axis, append=np.take(grey, [-1], axis=axis))) for axis in (0, 1))
    # The square root keeps one hard edge from outweighing texture, where an attack and a defence show best.
    return np.asarray(np.sqrt(rows + columns))


def _places(length: int, side: int) -> npt.NDArray[np.intp]:
    margin = min(int(length * _MARGIN), (length - side) // 2)
    return np.arange(margin, length - side - margin + 1)


def _same_share(window: Window, photo: FloatImage, purified: FloatImage) -> Window:
    down, right = purified.shape[0] / photo.shape[0], purified.shape[1] / photo.shape[1]
    return Window(
        left=int(window.left * right),
        top=int(window.top * down),
        width=max(int(window.width * right), 1),
        height=max(int(window.height * down), 1),
    )


def _search(window: Window, photo: FloatImage, purified: FloatImage) -> Window | None:
    """Find the position of best agreement at the photo's scale, in images small enough to be fast."""
    step = max(1, -(-max(photo.shape[:2]) // _SEARCHED))
    border = _border(window, photo)
    part, field = _thinned(window.grown(border).cut(photo), step), _thinned(purified, step)
    if part.std() == 0 or any(inner > outer for inner, outer in zip(part.shape, field.shape, strict=True)):
        return None
    best, (row, column) = max(
        (_best_match(field, mirrored) for mirrored in _mirrored(part)), key=lambda found: found[0]
    )
    left, top = column * step + border, row * step + border
    found = Window(left=left, top=top, width=window.width, height=window.height)
    return found if best >= _SAME and found.fits(purified) else None


def _border(window: Window, photo: FloatImage) -> int:
    """Return the margin in pixels on every side that gives the search enough context if the photo is large."""
    height, width = photo.shape[:2]
    wanted: int = (min(height, width) // _SHARE - window.width) // 2
    room: int = min(window.left, window.top, width - window.left - window.width, height - window.top - window.height)
    return max(min(wanted, room), 0)


def _mirrored(part: Grey) -> list[Grey]:
    return [part, part[::-1], part[:, ::-1], part[::-1, ::-1]]


def _best_match(field: Grey, part: Grey) -> tuple[float, tuple[int, int]]:
    agreement = match_template(field, part)  # type: ignore[no-untyped-call]
    row, column = np.unravel_index(np.argmax(agreement), agreement.shape)
    return float(agreement[row, column]), (int(row), int(column))


def _resemblance(part: FloatImage, other: FloatImage) -> float:
    """Compute the correlation of two parts at one size; 1 for flat ones, which resemble everything."""
    first = _grey(part)
    second = resize(_grey(other), first.shape, order=1)  # type: ignore[no-untyped-call]
    if first.std() == 0 or second.std() == 0:
        return 1.0
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def _thinned(image: FloatImage, step: int) -> Grey:
    """Compute the means of squares of `step` pixels."""
    grey = _grey(image)
    height, width = (length - length % step for length in grey.shape)
    blocks = grey[:height, :width].reshape(height // step, step, width // step, step)
    return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.float32)


def _grey(image: FloatImage) -> Grey:
    return np.asarray(image.mean(axis=2), dtype=np.float32)
