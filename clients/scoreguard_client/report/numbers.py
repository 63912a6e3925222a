"""Inputs of the columns of the robustness table: the records of one row as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scoreguard.score_range import ScoreRange
from scoreguard_client.campaign.records import Record
from scoreguard_client.report.transforms import Transform
from scoreguard_client.scores.clusters import RESAMPLES, Clusters
from scoreguard_client.scores.r_score import RMode
from scoreguard_client.scores.scaling import Scaling, Values, scale_pair


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Which variants of the scores a table uses."""

    scaling: Scaling = Scaling.DECLARED_RANGE
    """Which scores become 0 and 1."""
    calibration: Path | None = None
    """File of `scoreguard-export calibrate`, for CALIBRATED."""
    r_mode: RMode = RMode.PAPER
    """Whose R-score formula."""
    resamples: int = RESAMPLES
    """Resamples of the intervals."""
    domain_transform: str | None = None
    """Map onto a reference metric: a file of `scoreguard domain fit`, or `as-benchmark:` and the published file."""


class Numbers:
    """One value for each record; at least one record, none of them failed."""

    def __init__(
        self,
        records: Sequence[Record],
        declared: ScoreRange,
        options: TableOptions,
        transform: Transform | None = None,
    ) -> None:
        def column(name: str) -> Values:
            return np.array([getattr(record, name) for record in records], dtype=np.float64)

        def scores(name: str) -> Values:
            return column(name) if transform is None else transform.apply(column(name))

        scale = declared if transform is None else transform.range
        self.raw = None if transform is None else Numbers(records, declared, options)
        """The numbers before the transform; None if there is none."""

        self.images = Clusters([record.unit for record in records], resamples=options.resamples)
        """The image of each record; of a video's frame the video."""
        self.r_mode = options.r_mode
        self.clean, self.clean_defended = scores("clean_score"), scores("clean_defended")
        self.attacked = scores("attacked_defended")
        self.u, self.v = scale_pair(self.clean_defended, self.attacked, scale, options.scaling)
        """Served scores of the clean and of the attacked image, scaled."""
        eight_bits = scores("attacked_defended_8bit")
        self.v_8bit = scale_pair(self.clean_defended, eight_bits, scale, options.scaling)[1]
        self.psnr, self.ssim = column("psnr"), column("ssim")
        self.perceptual = column("perceptual")
        """Perceptual distance of each attacked image from the clean one; NaN where none was measured."""
        self.purified_psnr, self.purified_ssim = column("purified_psnr"), column("purified_ssim")
        self.spread = _spread(records, self.attacked)
        """Standard deviation over the draws of each record's image; NaN if there is one draw."""


def _spread(records: Sequence[Record], attacked: Values) -> Values:
    indices: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        indices.setdefault(record.image, []).append(index)
    spread = np.full(len(records), np.nan)
    for drawn in indices.values():
        if len(drawn) > 1:
            spread[drawn] = attacked[drawn].std(ddof=1)
    return spread
