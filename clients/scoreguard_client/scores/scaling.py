"""Bring scores to a common scale: u for clean, v for attacked, 0 = worst and 1 = best quality.

The public benchmark fits MinMax on the clean scores of the selected rows, so a gain depends on the selection. Here the
metric's declared range is the default, and the benchmark's way has its own name.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt

from scoreguard.score_range import ScoreRange

Values = npt.NDArray[np.float64]
"""One number for each row: (N,)."""


class Scaling(StrEnum):
    """Which scores become 0 and 1."""

    DECLARED_RANGE = "declared_range"
    """The lowest and highest score of the metric's declared range."""
    CLEAN_SELECTION = "clean_selection"
    """The lowest and highest of the clean scores given (the public benchmark)."""
    STUDY_BOUNDS = "nips2017"
    """The lowest and highest score on the images of NIPS 2017, as a study publishes them."""
    CALIBRATED = "calibrated"
    """The lowest and highest score on a folder of images, measured by `scoreguard-export calibrate`."""


def scale_pair(
    clean: Values, attacked: Values, declared: ScoreRange, scaling: Scaling = Scaling.DECLARED_RANGE
) -> tuple[Values, Values]:
    """Scale clean and attacked scores alike.

    Args:
        clean: (N,).
        attacked: (N,).
        declared: The range to scale by; for bounds of a study or of a calibration, those.
        scaling: Only CLEAN_SELECTION takes other bounds than that range.

    Returns:
        u and v; v may leave [0, 1]. If all clean scores of CLEAN_SELECTION are equal, both are NaN.
    """
    scale = declared
    if scaling is Scaling.CLEAN_SELECTION:
        low, high = float(np.min(clean)), float(np.max(clean))
        if low == high:
            return np.full(len(clean), np.nan), np.full(len(attacked), np.nan)
        scale = ScoreRange(low=low, high=high, higher_is_better=declared.higher_is_better)
    return scale.scale(clean), scale.scale(attacked)
