"""The candidates of `free-best` in the order of its queries: every edit as usual, then stronger, then milder."""

from __future__ import annotations

from typing import Final

from scoreguard_client.attacks.free.avif import FreeAVIF, writes_avif
from scoreguard_client.attacks.free.base import FreeEdit
from scoreguard_client.attacks.free.contrast import FreeContrast
from scoreguard_client.attacks.free.denoise import FreeDenoise
from scoreguard_client.attacks.free.grain import FreeGrain
from scoreguard_client.attacks.free.jpeg import FreeJPEG
from scoreguard_client.attacks.free.rescale import FreeRescale
from scoreguard_client.attacks.free.saturation import FreeSaturation
from scoreguard_client.attacks.free.sharpen import FreeSharpen
from scoreguard_client.attacks.free.sharpen_after_blur import FreeSharpenAfterBlur
from scoreguard_client.attacks.free.webp import FreeWebP

AS_USUAL: Final[tuple[FreeEdit, ...]] = (
    FreeSharpen(),
    FreeJPEG(),
    FreeContrast(),
    FreeGrain(),
    FreeSaturation(),
    FreeRescale(),
    FreeSharpenAfterBlur(),
    FreeWebP(),
    FreeAVIF(),
    FreeDenoise(),
)
"""Each with its defaults."""
STRONGER: Final[tuple[FreeEdit, ...]] = (
    FreeSharpen(amount=2.0),
    FreeJPEG(quality=50),
    FreeContrast(factor=1.5),
    FreeGrain(sigma=0.04),
    FreeSaturation(factor=1.6),
    FreeRescale(factor=1 / 3),
    FreeSharpenAfterBlur(amount=3.0),
    FreeWebP(quality=50),
    FreeAVIF(quality=50),
    FreeDenoise(side=5),
)
MILDER: Final[tuple[FreeEdit, ...]] = (
    FreeSharpen(amount=0.5),
    FreeJPEG(quality=90),
    FreeContrast(factor=1.1),
    FreeGrain(sigma=0.01),
    FreeSaturation(factor=1.15),
    FreeRescale(factor=0.75),
    FreeSharpenAfterBlur(amount=0.75),
    FreeWebP(quality=95),
    FreeAVIF(quality=90),
    FreeDenoise(amount=0.5),
)
CANDIDATES: Final[tuple[FreeEdit, ...]] = AS_USUAL + STRONGER + MILDER
"""All of them; AVIF is passed over where Pillow does not write it."""


def candidates() -> tuple[FreeEdit, ...]:
    """Return the candidates that this Pillow can make."""
    return CANDIDATES if writes_avif() else tuple(edit for edit in CANDIDATES if not isinstance(edit, FreeAVIF))
