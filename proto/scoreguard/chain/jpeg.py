"""A JPEG codec without its rounding: colour, chroma sampling, 8 × 8 cosine transform; and its derivative.

Source: ITU-T T.81 (1992), Annexes A and K, and JFIF's colour matrix with libjpeg's 16-bit constants; the quality rule
is libjpeg's. The exported graph computes the images; this module computes where its coefficients are between two
quantisation steps, and how a derivative passes when rounding has one. All arrays are NumPy arrays; blocks and sums of
squares are also computed for tensors, on their device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
T = TypeVar("T", bound=np.generic)
Planes = tuple[Floats, Floats, Floats]
"""One array each for Y, Cb and Cr. Coefficients are (N, rows of blocks, columns of blocks, 64)."""

LUMINANCE_TABLE: Final = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""T.81 table K.1."""

CHROMINANCE_TABLE: Final = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
)
"""T.81 table K.2."""

BLOCK: Final = 8
"""Rows and columns of a block."""
HALVED: Final = 420
"""The subsampling that halves chrominance in both directions."""
TO_COMPONENTS: Final[Floats] = np.array(
    [[19595, 38470, 7471], [-11059, -21709, 32768], [32768, -27439, -5329]], np.float32
) / np.float32(1 << 16)
"""R, G, B → Y, Cb, Cr, without the chrominance offset."""
TO_COLOUR: Final[Floats] = np.array(
    [[65536, 0, 91881], [65536, -22554, -46802], [65536, 116130, 0]], np.float32
) / np.float32(1 << 16)
"""Y, Cb, Cr → R, G, B."""
LEAST_SLOPE: Final = np.float32(0.01)
"""Lower bound of the cubic slope close to the middle between two thresholds. If all numbers are exactly there, as in
flat images, in posterised ones and in 8-bit images before 256 levels, a slope of 0 would block the gradient."""
_HALVES: Final[Floats] = np.array([0.5, 0.5 - 2**-16, 0.5 - 2**-16], np.float32).reshape(3, 1, 1, 1)
"""libjpeg rounds an exact half of chrominance down."""
_MIDDLE: Final = np.float32(128)
_QUARTER: Final = np.float32(0.25)


def _transform() -> Floats:
    place, frequency = np.arange(BLOCK), np.arange(BLOCK)[:, None]
    waves = np.cos((2 * place + 1) * frequency * np.pi / (2 * BLOCK)) / 2
    waves[0] = np.sqrt(1 / BLOCK)
    return np.kron(waves, waves).astype(np.float32)


TRANSFORM: Final[Floats] = _transform()
"""The orthonormal DCT-II of a block: (64 frequencies, 64 positions)."""


def quantisation_steps(table: tuple[tuple[int, ...], ...], quality: float) -> Floats:
    """Scale a table of Annex K to a quality, as libjpeg does: (64,) whole numbers in 1..255."""
    whole = int(np.clip(np.rint(quality), 1, 100))
    percent = 5000 // whole if whole < 50 else 200 - 2 * whole
    steps: Floats = np.clip((np.array(table) * percent + 50) // 100, 1, 255).astype(np.float32).reshape(-1)
    return steps


def to_blocks(planes: Floats) -> Floats:
    """(N, 8 r, 8 c) → (N, r, c, 64)."""
    count, height, width = planes.shape
    cut = planes.reshape(count, height // BLOCK, BLOCK, width // BLOCK, BLOCK).swapaxes(2, 3)
    return cut.reshape(count, height // BLOCK, width // BLOCK, BLOCK * BLOCK)


def from_blocks(blocks: Floats) -> Floats:
    """(N, r, c, 64) → (N, 8 r, 8 c)."""
    count, rows, columns, _ = blocks.shape
    cut = blocks.reshape(count, rows, columns, BLOCK, BLOCK).swapaxes(2, 3)
    return cut.reshape(count, BLOCK * rows, BLOCK * columns)


@dataclass(frozen=True)
class Codec:
    """A codec for one quality and chroma sampling, for images of any size."""

    quality: float
    """libjpeg's quality, 1 to 100."""
    subsampling: float = HALVED
    """420 (chrominance halved in both directions) or 444."""

    @property
    def halved(self) -> bool:
        """Whether chrominance is halved."""
        return self.subsampling == HALVED

    @property
    def unit(self) -> int:
        """Rows and columns of the smallest image without padding."""
        return 2 * BLOCK if self.halved else BLOCK

    @cached_property
    def steps(self) -> Planes:
        """Quantisation steps of Y, Cb and Cr, each (64,)."""
        luminance, chrominance = (quantisation_steps(t, self.quality) for t in (LUMINANCE_TABLE, CHROMINANCE_TABLE))
        return luminance, chrominance, chrominance

    def coefficients(self, levels: npt.NDArray[np.uint8]) -> Planes:
        """Coefficients of 8-bit images (N, 3, H, W) in units of their quantisation steps, before they are rounded.

        They include the encoder's earlier rounding of colours and of halved chrominance.
        """
        height, width = levels.shape[2:]
        margins = [(0, 0), (0, 0), (0, -height % self.unit), (0, -width % self.unit)]
        padded = np.pad(levels, margins, mode="edge").astype(np.float32)
        luminance, *chrominance = np.floor(np.einsum("cd,ndhw->cnhw", TO_COMPONENTS, padded) + _HALVES)
        if self.halved:
            chrominance = [_halved(plane, (height + 1) // 2) for plane in chrominance]
        planes = (luminance - _MIDDLE, *chrominance)
        blocks = (to_blocks(plane) @ TRANSFORM.T / steps for plane, steps in zip(planes, self.steps, strict=True))
        first, second, third = blocks
        return first, second, third

    def pulled_back(self, upstream: Floats, slopes: Planes) -> Floats:
        """Derivative with respect to the images from that with respect to the decoded images, both (N, 3, H, W).

        Args:
            upstream: the derivative with respect to the decoded images.
            slopes: the derivative of rounding at each coefficient; 1 everywhere is straight through.
        """
        height, width = upstream.shape[2:]
        gains = zip(self._decoded_from(upstream), slopes, strict=True)
        luminance, *chrominance = (from_blocks(np.asarray((gain * slope) @ TRANSFORM)) for gain, slope in gains)  # pyright: ignore[reportArgumentType]
        if self.halved:
            chrominance = [_halved_transposed(plane, (height + 1) // 2) for plane in chrominance]
        colours = np.einsum("cd,cnhw->ndhw", TO_COMPONENTS, np.stack([luminance, *chrominance]))
        return _folded(colours, height, width)

    def _decoded_from(self, upstream: Floats) -> list[Floats]:
        """Derivative with respect to each coefficient."""
        luminance, *chrominance = np.einsum("dc,ndhw->cnhw", TO_COLOUR, upstream)
        if self.halved:
            chrominance = [_doubled_transposed(_doubled_transposed(plane, 1), 2) for plane in chrominance]
        filled = [_filled(luminance, self.unit), *(_filled(plane, BLOCK) for plane in chrominance)]
        return [to_blocks(plane) @ TRANSFORM.T for plane in filled]


def cubic_slopes(numbers: Sequence[Floats]) -> tuple[Floats, ...]:
    """3 (x - round(x))^2 of each number, the derivative of round(x) + (x - round(x))^3; at least `LEAST_SLOPE`."""
    return tuple(np.maximum(np.float32(3) * np.square(x - np.rint(x)), LEAST_SLOPE) for x in numbers)


def sum_of_squares(planes: Floats) -> Floats:
    """Sum of each 2 × 2 square of (..., 2h, 2w)."""
    rows = planes[..., 0::2, :] + planes[..., 1::2, :]
    return rows[..., 0::2] + rows[..., 1::2]  # pyright: ignore[reportReturnType]


def repeated(planes: npt.NDArray[T], times: int) -> npt.NDArray[T]:
    """Repeat each value of (..., h, w) as a square of times × times."""
    return np.repeat(np.repeat(planes, times, axis=-2), times, axis=-1)


def _halved(planes: Floats, height: int) -> Floats:
    total = sum_of_squares(planes)
    bias = (1 + np.arange(total.shape[2]) % 2).astype(np.float32)
    halved: Floats = np.floor((total + bias) * _QUARTER)
    # The encoder repeats the last row after halving, but the last column before it.
    halved[:, height:] = halved[:, height - 1 : height]
    return halved


def _halved_transposed(planes: Floats, height: int) -> Floats:
    folded = np.zeros_like(planes)
    folded[:, :height] = _folded(planes, height, planes.shape[2])
    return repeated(folded, 2) * _QUARTER


def _doubled_transposed(planes: Floats, axis: int) -> Floats:
    """Transpose of the triangle filter: outputs 2i and 2i + 1 take 3/4 of input i, 1/4 of i - 1 and of i + 1."""
    outputs = np.moveaxis(_filled(planes, 2), axis, -1)
    even, odd = _QUARTER * outputs[..., 0::2], _QUARTER * outputs[..., 1::2]
    inputs = 3 * (even + odd)
    inputs[..., :-1] += even[..., 1:]
    inputs[..., 1:] += odd[..., :-1]
    inputs[..., 0] += even[..., 0]
    inputs[..., -1] += odd[..., -1]
    return np.moveaxis(inputs, -1, axis)  # pyright: ignore[reportReturnType]


def _filled(planes: Floats, unit: int) -> Floats:
    height, width = planes.shape[1:]
    return np.pad(planes, [(0, 0), (0, -height % unit), (0, -width % unit)])


def _folded(planes: Floats, height: int, width: int) -> Floats:
    """Transpose of repeating the last row and column: (..., H', W') → (..., H, W)."""
    rows = planes[..., :height, :].copy()
    rows[..., -1, :] += planes[..., height:, :].sum(axis=-2)
    folded = rows[..., :width].copy()
    folded[..., -1] += rows[..., width:].sum(axis=-1)
    return folded
