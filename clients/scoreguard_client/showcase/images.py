"""Images reduced to what the page shows, so that a large photo behind many defences needs little memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import PIL.Image

from scoreguard_client._images import to_pillow
from scoreguard_client._models import FloatImage
from scoreguard_client.showcase.details import Window

Levels = npt.NDArray[np.uint8]
"""8-bit RGB image, (H, W, 3)."""

LONGEST: Final = 768
"""Longest side of a whole image on the page, in pixels; larger ones are reduced."""
_MIDDLE: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class Shown:
    """An image for people."""

    whole: Levels = field(repr=False)
    """The whole image, reduced if it is large."""
    detail: Levels = field(repr=False)
    """A part of it, pixel by pixel."""


def show(image: FloatImage, window: Window) -> Shown:
    """Reduce an image (H, W, 3) in [0, 1] to what the page shows."""
    return Shown(whole=_reduced(image), detail=np.asarray(to_pillow(window.cut(image))))


def show_difference(changed: FloatImage, image: FloatImage, window: Window, factor: float) -> Shown | None:
    """Compute the amplified difference around middle grey; None if the sizes differ."""
    if changed.shape != image.shape:
        return None
    return show(np.clip(_MIDDLE + np.float32(factor) * (changed - image), 0, 1).astype(np.float32), window)


def amplification(l_infinity: float) -> float:
    """Return the integer factor at which the attack itself spans black to white; 1 if it changed nothing."""
    return max(1.0, float(round(_MIDDLE / l_infinity))) if l_infinity else 1.0


def _reduced(values: FloatImage) -> Levels:
    image = to_pillow(values)
    # Reducing by integer factors first is as good, and many times faster on a photo of many megapixels.
    image.thumbnail((LONGEST, LONGEST), PIL.Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.asarray(image)
