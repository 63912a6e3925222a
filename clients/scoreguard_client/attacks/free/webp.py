"""Save as lossy WebP."""

from __future__ import annotations

from dataclasses import dataclass

from scoreguard_client.attacks.free.reencoded import ReencodedEdit


@dataclass(frozen=True, kw_only=True)
class FreeWebP(ReencodedEdit):
    """Pillow's WebP encoder at one quality."""

    name = "free-webp"
    title = "Save as WebP"
    file_format = "WEBP"

    quality: int = 80
    """Quality of the encoder, 1 to 100; 80 is Pillow's own default."""
