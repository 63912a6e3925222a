"""The integer arithmetic of libjpeg-turbo's baseline codec, on tensors of whole numbers.

Source: ITU-T T.81 (1992), Annexes A and K; the "islow" transform is Loeffler, Ligtenberg and Moschytz, ICASSP 1989,
with 13-bit constants. All steps are whole-number arithmetic: colour and sampling stay below 2²⁴, where float32 is
exact, and the transforms run in float64. So every engine and every order of summation gives the same bits, and no
rounding can differ.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from scoreguard_export.defences.straight_through import straight_through

TRANSFORM = (
    (8192, 8192, 8192, 8192, 8192, 8192, 8192, 8192),
    (11363, 9633, 6437, 2260, -2260, -6437, -9633, -11363),
    (10703, 4433, -4433, -10703, -10703, -4433, 4433, 10703),
    (9633, -2259, -11362, -6436, 6436, 11362, 2259, -9633),
    (8192, -8192, -8192, 8192, 8192, -8192, -8192, 8192),
    (6437, -11362, 2261, 9633, -9633, -2261, 11362, -6437),
    (4433, -10704, 10704, -4433, -4433, 10704, -10704, 4433),
    (2260, -6436, 9633, -11363, 11363, -9633, 6436, -2260),
)
"""Scaled DCT-II, 2¹³·√8·C: the islow factorisation's twelve constants, combined into one matrix."""


def quantisation_table(base: Tensor, quality: Tensor) -> Tensor:
    """Scale a table of Annex K to a quality, as libjpeg does.

    Args:
        base: (8, 8) whole numbers.
        quality: 0-d, 1 to 100; rounded to a whole number.

    Returns:
        (8, 8) whole numbers in 1..255.
    """
    whole = torch.clamp(torch.round(quality), 1.0, 100.0).to(base.dtype)
    # Adding half a unit never reaches the next whole number, and is safe if the division uses a reciprocal.
    percent = torch.where(whole < 50.0, torch.floor(5000.5 / whole), 200.0 - 2.0 * whole)
    return torch.clamp(torch.floor((base * percent + 50.0) / 100.0), 1.0, 255.0)


def to_bytes(image: Tensor) -> Tensor:
    """Round images in [0, 1] to levels 0..255."""
    levels = image * 255.0
    return straight_through(levels, torch.clamp(torch.round(levels), 0.0, 255.0))


def colour_to_components(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Convert levels (N, 3, H, W) to luminance (N, 1, H, W) and chrominance (N, 2, H, W).

    JFIF's matrix with 16-bit constants.
    """
    red, green, blue = rgb[:, 0:1], rgb[:, 1:2], rgb[:, 2:3]
    luminance = (19595.0 * red + 38470.0 * green + 7471.0 * blue) * 2.0**-16
    blueness = (32768.0 * blue - 11059.0 * red - 21709.0 * green) * 2.0**-16 + 128.0
    redness = (32768.0 * red - 27439.0 * green - 5329.0 * blue) * 2.0**-16 + 128.0
    chrominance = torch.cat([blueness, redness], dim=1)
    return (
        straight_through(luminance, torch.floor(luminance + 0.5)),
        # libjpeg rounds an exact half down here; otherwise 255.5 would become 256.
        straight_through(chrominance, torch.floor(chrominance + (0.5 - 2.0**-16))),
    )


def components_to_colour(luminance: Tensor, chrominance: Tensor) -> Tensor:
    """Convert luminance (N, 1, H, W) and chrominance (N, 2, H, W) back to levels (N, 3, H, W) in 0..255."""
    blueness, redness = chrominance[:, 0:1] - 128.0, chrominance[:, 1:2] - 128.0
    greenness = -22554.0 * blueness - 46802.0 * redness
    offsets = torch.cat([91881.0 * redness, greenness, 116130.0 * blueness], dim=1) * 2.0**-16
    colour = luminance + offsets
    return straight_through(colour, torch.clamp(luminance + torch.floor(offsets + 0.5), 0.0, 255.0))


def extend(planes: Tensor, height: int, width: int) -> Tensor:
    """Repeat the last row and column of (N, C, H, W) up to a size."""
    below, right = height - planes.shape[2], width - planes.shape[3]
    return functional.pad(planes, [0, right, 0, below], mode="replicate")


def halve(planes: Tensor) -> Tensor:
    """Average 2 × 2 squares of (N, C, 2h, 2w); the rounding bias alternates 1, 2 along a row."""
    total = planes[:, :, 0::2, 0::2] + planes[:, :, 0::2, 1::2] + planes[:, :, 1::2, 0::2] + planes[:, :, 1::2, 1::2]
    columns = torch.arange(total.shape[3], device=planes.device)
    bias = (1 + columns % 2).to(planes.dtype)
    return straight_through(total * 0.25, torch.floor((total + bias) * 0.25))


def double(planes: Tensor) -> Tensor:
    """Double (N, C, h, w) with the triangle filter ("fancy upsampling"): weights 9/16, 3/16, 3/16, 1/16."""
    batch, channels, height, width = planes.shape
    padded = functional.pad(planes, [1, 1, 1, 1], mode="replicate")
    near = 3.0 * padded[:, :, 1:-1]
    tall = torch.stack([near + padded[:, :, :-2], near + padded[:, :, 2:]], dim=3)
    tall = tall.reshape(batch, channels, 2 * height, width + 2)
    near = 3.0 * tall[..., 1:-1]
    total = torch.stack([near + tall[..., :-2], near + tall[..., 2:]], dim=4) * 0.0625
    total = total.reshape(batch, channels, 2 * height, 2 * width)
    columns = torch.arange(2 * width, device=planes.device)
    bias = 0.5 - (columns % 2).to(planes.dtype) * 0.0625
    return straight_through(total, torch.floor(total + bias))


def _scaled(total: Tensor, bits: float) -> Tensor:
    value = total * 2.0**-bits
    return straight_through(value, torch.floor(value + 0.5))


def _rows(planes: Tensor, matrix: Tensor) -> Tensor:
    shape = planes.shape
    return torch.matmul(planes.reshape(-1, 8), matrix).reshape(shape)


def _columns(planes: Tensor, matrix: Tensor) -> Tensor:
    batch, channels, height, width = planes.shape
    strips = planes.reshape(batch * channels, height // 8, 8, width)
    return torch.matmul(matrix, strips).reshape(batch, channels, height, width)


def _tiled(table: Tensor, height: int, width: int) -> Tensor:
    return table.repeat(height // 8, width // 8)


def code_blocks(planes: Tensor, transform: Tensor, table: Tensor) -> Tensor:
    """Transform, quantise, dequantise and transform back the 8 × 8 blocks of (N, C, H, W), both sizes multiples of 8.

    Args:
        planes: Levels 0..255.
        transform: `TRANSFORM`, float64.
        table: (8, 8) quantisation steps, float64.

    Returns:
        Levels 0..255, same shape.
    """
    steps = _tiled(table, planes.shape[2], planes.shape[3])
    samples = planes.to(torch.float64) - 128.0
    rows = _scaled(_rows(samples, transform.t()), 11.0)
    coefficients = _scaled(_columns(rows, transform), 15.0) / (8.0 * steps)
    # Round halves away from zero, as the encoder's division does.
    whole = torch.sign(coefficients) * torch.floor(torch.abs(coefficients) + 0.5)
    decoded = straight_through(coefficients, whole) * steps
    columns = _scaled(_columns(decoded, transform.t()), 11.0)
    levels = _rows(columns, transform) * 2.0**-18 + 128.0
    return straight_through(levels, torch.clamp(torch.floor(levels + 0.5), 0.0, 255.0)).to(planes.dtype)
