"""The columns of the robustness table: meaning and computation of each number, for text, CSV and HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from scoreguard.score_range import ScoreRange
from scoreguard_client.campaign.perceptual import title_of
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.report.digits import decimals_of_column, decimals_of_range
from scoreguard_client.report.numbers import Numbers
from scoreguard_client.scores.distances import energy_score, wasserstein_score
from scoreguard_client.scores.estimates import (
    Estimate,
    correlation_estimate,
    distance_estimate,
    mean_estimate,
)
from scoreguard_client.scores.gains import relative_changes
from scoreguard_client.scores.purification import purification_changes, qualities
from scoreguard_client.scores.r_score import r_values
from scoreguard_client.scores.scaling import Values


@dataclass(frozen=True, kw_only=True)
class Column:
    """One number of a row."""

    key: str
    """Name in CSV and JSON."""
    label: str
    """Heading in tables for people."""
    meaning: str
    """One sentence."""
    compute: Callable[[Numbers], Estimate]
    """Computes the number from records."""
    digits: int | None = 3
    """Minimum digits after the point in tables for people; None = as many as the metric's range needs."""
    brief: bool = False
    """Whether the narrow terminal table includes it."""

    def decimals(self, declared: ScoreRange, estimates: Iterable[Estimate | None]) -> int:
        """Return the digits after the point for all rows of the column.

        Args:
            declared: the metric's range.
            estimates: the column's numbers; None if a row has none.
        """
        least = decimals_of_range(declared.high - declared.low) if self.digits is None else self.digits
        return decimals_of_column((estimate.value for estimate in estimates if estimate), least)


def columns_for(plan: Plan) -> tuple[Column, ...]:
    """Return the columns of a run's tables."""
    return (*COLUMNS, _perceptual(plan.distance)) if plan.distance else COLUMNS


def raw_columns(declared: ScoreRange) -> tuple[Column, ...]:
    """Return what stands beside transformed numbers: the same before the transform, in the metric's own units.

    Args:
        declared: the metric's own range.
    """
    digits = decimals_of_range(declared.width)
    return (
        Column(
            key="clean_mean_raw",
            label="clean, raw",
            meaning="Mean score f(g(x)) of the clean images before the domain transform, in the metric's units.",
            compute=_of_raw(lambda raw: mean_estimate(raw.clean_defended, raw.images)),
            digits=digits,
        ),
        Column(
            key="attacked_mean_raw",
            label="attacked, raw",
            meaning="Mean score f(g(x')) of the attacked images before the domain transform, in the metric's units.",
            compute=_of_raw(lambda raw: mean_estimate(raw.attacked, raw.images)),
            digits=digits,
        ),
        Column(
            key="absolute_gain_raw",
            label="abs. gain, raw",
            meaning="Mean rise of the served score before the domain transform, as a share of the metric's own scale.",
            compute=_of_raw(lambda raw: mean_estimate(raw.v - raw.u, raw.images)),
            brief=True,
        ),
    )


def _of_raw(compute: Callable[[Numbers], Estimate]) -> Callable[[Numbers], Estimate]:
    return lambda numbers: compute(numbers.raw or numbers)


def _perceptual(source: str) -> Column:
    title, digest = title_of(source), source.partition(":")[2]
    return Column(
        key="perceptual",
        label=title,
        meaning=f"{title} of the attacked image against the clean one, with the weights {digest}; 0 = the same.",
        compute=_mean(lambda numbers: numbers.perceptual),
    )


def _mean(values: Callable[[Numbers], Values]) -> Callable[[Numbers], Estimate]:
    return lambda numbers: mean_estimate(values(numbers), numbers.images)


def _r(numbers: Numbers) -> Estimate:
    values = r_values(numbers.u, numbers.v, mode=numbers.r_mode)
    return mean_estimate(values, numbers.images, changes=numbers.v - numbers.u)


def _spread(numbers: Numbers) -> Estimate:
    if np.isnan(numbers.spread).any():  # a single draw has no spread, which is not an error
        return Estimate(value=float("nan"))
    return mean_estimate(numbers.spread, numbers.images)


COLUMNS: Final = (
    Column(
        key="clean_mean",
        label="clean",
        meaning="Mean score f(g(x)) of the clean images behind the defence, in the metric's units.",
        compute=_mean(lambda numbers: numbers.clean_defended),
        digits=None,
        brief=True,
    ),
    Column(
        key="attacked_mean",
        label="attacked",
        meaning="Mean score f(g(x')) of the attacked images behind the defence, in the metric's units.",
        compute=_mean(lambda numbers: numbers.attacked),
        digits=None,
        brief=True,
    ),
    Column(
        key="absolute_gain",
        label="abs. gain",
        meaning="Mean rise of the served score, as a share of the metric's scale; 0 = the attack gained nothing.",
        compute=_mean(lambda numbers: numbers.v - numbers.u),
        brief=True,
    ),
    Column(
        key="absolute_gain_8bit",
        label="abs. gain, 8-bit",
        meaning="The same after the attacked image was rounded to 8 bits inside its budget.",
        compute=_mean(lambda numbers: numbers.v_8bit - numbers.u),
    ),
    Column(
        key="relative_gain",
        label="rel. gain",
        meaning="Mean of (v - u) / (u + 1) of scaled clean and attacked scores; undefined where u is below the scale.",
        compute=_mean(lambda numbers: relative_changes(numbers.u, numbers.v)),
        brief=True,
    ),
    Column(
        key="r_score",
        label="R",
        meaning="Mean log10 of the greatest possible change over the actual one; large is robust, 6 is the most.",
        compute=_r,
        brief=True,
    ),
    Column(
        key="wasserstein_score",
        label="W",
        meaning="Wasserstein distance of scaled clean and attacked scores, negative where scores fell.",
        compute=lambda numbers: distance_estimate(wasserstein_score, numbers.u, numbers.v, numbers.images),
        brief=True,
    ),
    Column(
        key="energy_score",
        label="E",
        meaning="Energy distance of scaled clean and attacked scores, negative where scores fell.",
        compute=lambda numbers: distance_estimate(energy_score, numbers.u, numbers.v, numbers.images, power=2),
        brief=True,
    ),
    Column(
        key="purification_gain",
        label="Gain",
        meaning="Mean |f(x) - f(g(x'))| / f(x) (arXiv 2404.06957): how far from restoring the clean score.",
        compute=_mean(lambda numbers: purification_changes(numbers.clean, numbers.attacked)),
        brief=True,
    ),
    Column(
        key="quality_score",
        label="Quality",
        meaning="Mean SSIM / 2 + PSNR / 160 of the purified image against the clean one; a flip is not undone.",
        compute=_mean(lambda numbers: qualities(numbers.purified_ssim, numbers.purified_psnr)),
        brief=True,
    ),
    Column(
        key="srocc",
        label="SROCC",
        meaning="Rank correlation of the clean undefended scores f(x) with the attacked defended ones f(g(x')).",
        compute=lambda numbers: correlation_estimate(numbers.clean, numbers.attacked, numbers.images),
        brief=True,
    ),
    Column(
        key="draw_spread",
        label="spread",
        meaning="Mean standard deviation of an image's attacked score over its draws; a dash where there is one.",
        compute=_spread,
        digits=None,
    ),
    Column(
        key="psnr",
        label="PSNR",
        meaning="PSNR of the attacked image against the clean one, in dB.",
        compute=_mean(lambda numbers: numbers.psnr),
        digits=1,
    ),
    Column(
        key="ssim",
        label="SSIM",
        meaning="SSIM of the attacked image against the clean one.",
        compute=_mean(lambda numbers: numbers.ssim),
    ),
)
