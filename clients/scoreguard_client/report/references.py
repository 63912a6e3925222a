"""Sources of the shipped methods: attacks with their titles, metrics and defences in the words of their classes.

A metric or a defence lives in the server's archive; its text here is that of its class, so that a run can be cited
without the server that it attacked. A method that is not listed here, such as a plug-in's, is cited by the text that it
states itself, see `citations`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One entry of a bibliography."""

    key: str
    """Key of the entry."""
    authors: tuple[str, ...]
    """Surnames; `others` for those that are not named."""
    year: int
    """Year of publication."""
    title: str = ""
    """The title; empty if only the identifier is known."""
    venue: str = ""
    """Where it was published."""
    arxiv: str = ""
    """Its number at arXiv."""
    doi: str = ""
    """Its DOI."""
    note: str = ""
    """Anything else."""


OURS: Final = Reference(
    key="scoreguard",
    authors=("{The scoreguard maintainers}",),
    year=2026,
    title="scoreguard: image-quality scores that are hard to game",
    note="software",
)
"""This software, as CITATION.cff has it."""
BENCHMARK: Final = Reference(
    key="antsiferova2024comparing",
    authors=("Antsiferova", "Abud", "Gushchin", "Shumitskaya", "Lavrushkin", "Vatolin"),
    year=2024,
    title="Comparing the robustness of modern no-reference image- and video-quality metrics to adversarial attacks",
    venue="AAAI",
    arxiv="2310.06958",
)
"""Absolute and relative gain, W and E."""
PERCEPTUAL: Final = Reference(
    key="zhang2022perceptual",
    authors=("Zhang", "others"),
    year=2022,
    title="Perceptual attacks of no-reference image quality models with human-in-the-loop",
    venue="NeurIPS",
    arxiv="2210.00933",
)
"""The R-score, and three attacks."""
PURIFICATION: Final = Reference(
    key="gushchin2024adversarial",
    authors=("Gushchin", "others"),
    year=2024,
    title="Adversarial purification for no-reference image-quality metrics",
    arxiv="2404.06957",
)
"""Gain and Quality, and many defences."""
SSIM: Final = Reference(
    key="wang2004image",
    authors=("Wang", "Bovik", "Sheikh", "Simoncelli"),
    year=2004,
    title="Image quality assessment: from error visibility to structural similarity",
    venue="IEEE Transactions on Image Processing 13(4)",
)
"""SSIM, and so Quality."""
MOMENTUM: Final = Reference(
    key="dong2018boosting",
    authors=("Dong", "others"),
    year=2018,
    title="Boosting adversarial attacks with momentum",
    arxiv="1710.06081",
)
SHIN: Final = Reference(
    key="shin2017jpeg", authors=("Shin", "Song"), year=2017, title="JPEG-resistant adversarial images"
)
PARAMETER_FREE: Final = Reference(
    key="croce2020reliable",
    authors=("Croce", "Hein"),
    year=2020,
    title="Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks",
    arxiv="2003.01690",
)

SCORES: Final = (OURS, BENCHMARK, PERCEPTUAL, PURIFICATION, SSIM)
"""What every table cites, whatever was run."""
