"""Images inside the page: lossless, and at their own size unless they are large.

Lossless WebP is a fifth smaller than PNG and, at its quickest, made in a fifth of the time.
"""

from __future__ import annotations

import base64
import io
from typing import Final

import PIL.Image

from scoreguard_client.report.exhibits import Levels

LONGEST: Final = 768
"""Longest side of an image inside the page; a larger one is made smaller, and says so."""


def embed(levels: Levels) -> str:
    """Return an image, (H, W, 3), as the address of its own content."""
    image = PIL.Image.fromarray(levels)
    if is_reduced(levels):
        image.thumbnail((LONGEST, LONGEST), PIL.Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True, method=0)
    return data_url("image/webp", buffer.getvalue())


def is_reduced(levels: Levels) -> bool:
    """Whether the page holds the image at less than its own size."""
    height, width = int(levels.shape[0]), int(levels.shape[1])
    return max(height, width) > LONGEST


def data_url(kind: str, data: bytes) -> str:
    """Return content as an address."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
