"""Weights that attacks of the client read; they are fetched here, into the folder that the client reads too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from scoreguard_export.weights.packages import WheelMember
from scoreguard_export.weights.source import CommercialUse, WeightsSource

ATTACKS: Final[Mapping[str, tuple[tuple[str, ...], WeightsSource]]] = {
    "st-lpips": (
        ("zhang-lpips",),
        WeightsSource(
            licence="BSD-2-Clause",
            commercial=CommercialUse.YES,
            package=WheelMember(
                requirement="stlpips-pytorch==0.0.2",
                member="stlpips_pytorch/weights/vST0.0/alex_shift_tolerant.pth",
            ),
            sha256="b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee",
            size=9_899_296,
            paper="Ghildyal, Liu: Shift-tolerant Perceptual Similarity Metric. ECCV, 2022",
        ),
    ),
}
"""Attacks and source by the name that `weights get` and an attack's `weights=` take."""
