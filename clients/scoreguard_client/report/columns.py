"""The columns of the robustness table: what each number is, in one place for the text, CSV and HTML forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Column:
    """One number of a row."""

    key: str
    """Name in CSV and JSON."""
    label: str
    """Heading in tables for people."""
    meaning: str
    """One sentence."""
    decimals: int = 3
    """Digits after the point in tables for people."""
    brief: bool = False
    """Whether the narrow table of the terminal has it."""


COLUMNS: Final = (
    Column(
        key="clean_mean",
        label="clean",
        meaning="Mean score f(g(x)) of the clean pictures behind the defence, in the metric's units.",
        decimals=2,
        brief=True,
    ),
    Column(
        key="attacked_mean",
        label="attacked",
        meaning="Mean score f(g(x')) of the attacked pictures behind the defence, in the metric's units.",
        decimals=2,
        brief=True,
    ),
    Column(
        key="absolute_gain",
        label="abs. gain",
        meaning="Mean rise of the served score, as a share of the metric's scale; 0 = the attack gained nothing.",
        brief=True,
    ),
    Column(
        key="absolute_gain_8bit",
        label="abs. gain, 8-bit",
        meaning="The same after the attacked picture was rounded to 8 bits inside its budget.",
    ),
    Column(
        key="relative_gain",
        label="rel. gain",
        meaning="Mean of (v - u) / (u + 1) of scaled clean and attacked scores.",
        brief=True,
    ),
    Column(
        key="r_score",
        label="R",
        meaning="Mean log10 of the greatest possible change over the actual one; large is robust, 6 is the most.",
        brief=True,
    ),
    Column(
        key="wasserstein_score",
        label="W",
        meaning="Wasserstein distance of scaled clean and attacked scores, negative where scores fell.",
        brief=True,
    ),
    Column(
        key="energy_score",
        label="E",
        meaning="Energy distance of scaled clean and attacked scores, negative where scores fell.",
        brief=True,
    ),
    Column(
        key="purification_gain",
        label="Gain",
        meaning="Mean |f(x) - f(g(x'))| / f(x) (arXiv 2404.06957): how far from restoring the clean score.",
        brief=True,
    ),
    Column(
        key="quality_score",
        label="Quality",
        meaning="Mean SSIM / 2 + PSNR / 160 of the purified picture against the clean one; a flip is not undone.",
        brief=True,
    ),
    Column(
        key="srocc",
        label="SROCC",
        meaning="Rank correlation of the clean undefended scores f(x) with the attacked defended ones f(g(x')).",
        brief=True,
    ),
    Column(
        key="draw_spread",
        label="spread",
        meaning="Mean standard deviation of a picture's attacked score over its draws; a dash where there is one.",
        decimals=2,
    ),
    Column(key="psnr", label="PSNR", meaning="PSNR of the attacked picture against the clean one, in dB.", decimals=1),
    Column(key="ssim", label="SSIM", meaning="SSIM of the attacked picture against the clean one."),
)
