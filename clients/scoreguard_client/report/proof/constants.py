"""The constants of the formulas, for those who repeat them in another language: stated once, where they are used."""

from __future__ import annotations

from typing import Final

from scoreguard_client.report.tables.leaderboard import GAP
from scoreguard_client.scores import estimates
from scoreguard_client.scores.clusters import RESAMPLES
from scoreguard_client.scores.draws import SEED
from scoreguard_client.scores.gains import ROUNDING as GAIN_ROUNDING
from scoreguard_client.scores.intervals import CONFIDENCE, FLAT
from scoreguard_client.scores.purification import ZERO
from scoreguard_client.scores.r_score import FLOOR, ROUNDING

CONSTANTS: Final[dict[str, float]] = {
    "confidence": CONFIDENCE,
    "flat": FLAT,
    "least_images": estimates.LEAST_IMAGES,
    "least_for_distance": estimates.LEAST_FOR_DISTANCE,
    "least_for_correlation": estimates.LEAST_FOR_CORRELATION,
    "least_apart": estimates.LEAST_APART,
    "fewest_images": estimates.FEWEST_IMAGES,
    "same": estimates.SAME,
    "relative_gain_rounding": GAIN_ROUNDING,
    "r_rounding": ROUNDING,
    "r_floor": FLOOR,
    "zero_score": ZERO,
    "seed": SEED,
    "inversion_gap": GAP,
    "rank_resamples": RESAMPLES,
}
"""By the name that a page's script calls them."""
WORDS: Final = {"too_few": estimates.TOO_FEW, "undefined": estimates.UNDEFINED}
"""Why a cell has no number or no interval."""
