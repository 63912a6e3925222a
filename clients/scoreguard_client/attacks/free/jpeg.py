"""Save as JPEG: what every upload, messenger and editor does.

Behind a `jpeg` defence it takes away what the defence would, so that the defence has less left to take: behind
`jpeg:quality=50` it raises `lite` for eight of the first eight Kodak images.
"""

from __future__ import annotations

from dataclasses import dataclass

from scoreguard_client.attacks.free.reencoded import ReencodedEdit


@dataclass(frozen=True, kw_only=True)
class FreeJPEG(ReencodedEdit):
    """Pillow's JPEG encoder at one quality; 75 is its own default."""

    name = "free-jpeg"
    title = "Save as JPEG"
    file_format = "JPEG"
