"""Save as JPEG: what every upload, messenger and editor does.

Behind a `jpeg` defence the numbers are rounded twice. Saved with half the defence's steps or a little more, what lies
between a quarter of such a step and half of it becomes half a step, and the defence rounds that up to a whole one:
detail that it would have dropped comes out stronger. Quality 75 halves the steps of 50, (50 + q / 2) those of q.
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
