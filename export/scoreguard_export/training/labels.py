"""Labels without human subjects: how far a distorted crop is from its pristine one by full-reference measures.

The label is 100 times the mean of three measures, each mapped monotonically so that all three span the same range,
1 for no difference and about 0 for the most severe:

    HaarPSI (Reisenhofer et al. 2018)   max(0, (h − 0.2) / 0.8)
    MDSI    (Nafchi et al. 2016)        max(0, 1 − (m / 0.55)²)
    DSS     (Balanov et al. 2015)       d
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from scoreguard.support.piq import import_piq
from scoreguard_export.errors import TrainingError


def _piq() -> ModuleType:
    try:
        return import_piq()
    except ImportError as error:
        raise TrainingError("training needs piq and torchvision: pip install 'scoreguard[train]'") from error


@torch.no_grad()
def quality_labels(distorted: Tensor, pristine: Tensor) -> Tensor:
    """Rate the quality of distorted images against their references.

    Args:
        distorted: (N, 3, H, W) in [0, 1], at least 64 pixels a side.
        pristine: the references, of the same shape.

    Returns:
        (N,) in [0, 100], 100 = no visible difference.

    Raises:
        TrainingError: piq or torchvision is not installed.
    """
    piq = _piq()
    haarpsi = piq.haarpsi(distorted, pristine, reduction="none")
    mdsi = piq.mdsi(distorted, pristine, reduction="none")
    dss = piq.dss(distorted, pristine, reduction="none")
    mapped = torch.stack([(haarpsi - 0.2) / 0.8, 1.0 - (mdsi / 0.55) ** 2, dss])
    return 100.0 * mapped.clamp(0.0, 1.0).mean(dim=0)
