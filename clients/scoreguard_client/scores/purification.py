"""Scores of a purification (Gushchin et al., "Adversarial purification for no-reference image-quality metrics", 2024).

    Gain = mean(|f(x) - f(g(x'))| / f(x))    (eq. 5)

Quality of the purified image against the clean one: the paper prints SSIM / 2 + PSNR / 100 (eq. 4), but all 16 rows
of its table 1 are SSIM / 2 + PSNR / 160, which its code computes and which is the default here.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from scoreguard_client.scores.scaling import Values

ZERO: Final = 1e-9
"""A score up to this value is 0 except for rounding, and cannot be a divisor."""


def purification_gain(clean: Values, purified: Values) -> float:
    """Compute the mean of |f(x) - f(g(x'))| / f(x) on unscaled scores; 0 = the clean score is restored.

    NaN (undefined) if a clean score is 0 or negative.
    """
    return float(np.mean(purification_changes(clean, purified)))


def purification_changes(clean: Values, purified: Values) -> Values:
    """Compute |f(x) - f(g(x'))| / f(x) of each row; NaN (undefined) if f(x) is 0 or negative."""
    undefined = ~(clean > ZERO)
    return np.where(undefined, np.nan, np.abs(clean - purified) / np.where(undefined, 1.0, clean))


def quality_score(ssim: Values, psnr: Values) -> float:
    """Mean of SSIM / 2 + PSNR / 160, as in the published table; PSNR in dB."""
    return float(np.mean(qualities(ssim, psnr)))


def qualities(ssim: Values, psnr: Values) -> Values:
    """SSIM / 2 + PSNR / 160 of each row."""
    return ssim / 2 + psnr / 160


def quality_score_printed(ssim: Values, psnr: Values) -> float:
    """Mean of SSIM / 2 + PSNR / 100, as eq. 4 is printed; it matches no row of the published table."""
    return float(np.mean(ssim / 2 + psnr / 100))
