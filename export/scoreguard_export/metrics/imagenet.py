"""Normalisation of the networks that were trained on ImageNet."""

from __future__ import annotations

import torch
from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


def normalised(image: Tensor) -> Tensor:
    """(N, 3, H, W) RGB in [0, 1] → (x − mean) / deviation, channel by channel."""
    mean = torch.tensor(MEAN, dtype=image.dtype, device=image.device)
    deviation = torch.tensor(DEVIATION, dtype=image.dtype, device=image.device)
    return (image - mean[:, None, None]) / deviation[:, None, None]
