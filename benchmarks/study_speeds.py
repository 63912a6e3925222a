"""The speeds that the first study published for its 16 defences, and how many times as fast a GPU should be here."""

from __future__ import annotations

from typing import Final

SIDE: Final = 299
"""Height and width of the study's images, in pixels."""
FPS: Final = {"resize": 63.31, "flip": 36.7, "jpeg": 15.76, "mprnet": 6.0, "diffpure": 3.08}
"""Table 1 of arXiv 2404.06957: images per second on an A100, one at a time; `mprnet` is known to a whole number only,
and the rows of the other defences are not recorded here."""
SIMPLE: Final = ("flip", "resize", "jpeg", "rotate", "crop", "blur", "median", "unsharp", "upscale", "bilateral")
"""The classical defences and the geometric ones."""
LEARNED: Final = ("realesrgan", "mprnet", "fcn-filter", "diffpure", "diffpure-edge", "diffpure-unsharp")
"""Restorers and diffusions."""
STUDY: Final = (*SIMPLE, *LEARNED)
"""The study's 16 defences, by the names that they have here."""
SIMPLE_AIM: Final = 3.0
"""Aim for a simple defence, as a multiple of the study's speed."""
LEARNED_AIM: Final = 2.0
"""Aim for a learned defence."""


def aim_of(name: str) -> float:
    """Return the aim for a defence, as a multiple of the study's speed."""
    return LEARNED_AIM if name in LEARNED else SIMPLE_AIM
