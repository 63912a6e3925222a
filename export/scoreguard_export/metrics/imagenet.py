"""Normalisation of the networks that were trained on ImageNet."""

from __future__ import annotations

import torch
from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
HALVES = (0.5, 0.5, 0.5)
"""Mean and deviation of the Inception networks, and of transformers trained like them: [0, 1] becomes [-1, 1]."""

Channels = tuple[float, float, float]
"""One number for each of red, green and blue."""


def normalised(image: Tensor, mean: Channels = MEAN, deviation: Channels = DEVIATION) -> Tensor:
    """(N, 3, H, W) RGB in [0, 1] → (x − mean) / deviation, channel by channel."""
    means = torch.tensor(mean, dtype=image.dtype, device=image.device)
    deviations = torch.tensor(deviation, dtype=image.dtype, device=image.device)
    return (image - means[:, None, None]) / deviations[:, None, None]
