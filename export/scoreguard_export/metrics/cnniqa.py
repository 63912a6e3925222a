"""CNNIQA: convolutional network on locally normalised patches (Kang, Ye, Li & Doermann, CVPR 2014).

The weights are those of lidq92/CNNIQA, trained on LIVE; the score is a predicted DMOS, so lower is better.

    grey = (19595 R + 38470 G + 7471 B) / 65536                       the weights of Pillow's `L`
    patch ← (patch − mean₃ₓ₃) / (deviation₃ₓ₃ + 1)                    32×32 patches, symmetric borders
    score = mean over patches of MLP(max, min over space of conv₇ₓ₇(patch))

Pillow rounds the grey value to 8 bits, which has no derivative. Here the value is rounded in the same way and the
gradient passes straight through: on 8-bit images the graph reads exactly what `Image.convert("L")` gives.
"""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.metrics.base import Metric, MetricFacts, ScoreRange
from scoreguard_export.metrics.linear import RowLinear, WideLinear
from scoreguard_export.weights.source import CommercialUse, WeightsSource

PATCH = 32


def grey_levels(image: Tensor) -> Tensor:
    """(N, 3, H, W) in [0, 1] → (N, H, W) whole levels 0..255 over 255; the gradient ignores the rounding."""
    red, green, blue = (image * 255.0).unbind(dim=1)
    level = (19595.0 * red + 38470.0 * green + 7471.0 * blue) / 65536.0
    return (level + (torch.floor(level + 0.5) - level).detach()) / 255.0


def patches_of(grey: Tensor) -> Tensor:
    """(N, H, W) → (N · P, 1, 32, 32); the official loop, `range(0, H − 32, 32)`, leaves out a patch at the very end."""
    rows, columns = (grey.shape[1] - 1) // PATCH, (grey.shape[2] - 1) // PATCH
    inner = grey[:, : rows * PATCH, : columns * PATCH]
    grid = inner.reshape(grey.shape[0], rows, PATCH, columns, PATCH)
    return grid.permute(0, 1, 3, 2, 4).reshape(-1, 1, PATCH, PATCH)


class CnnIqa(Metric):
    """Predicted DMOS on the scale of LIVE, 0 (best) to about 100; lower is better."""

    facts = MetricFacts(
        name="cnniqa",
        title="CNNIQA",
        paper="Kang, Ye, Li, Doermann: Convolutional Neural Networks for No-Reference Image Quality Assessment. CVPR",
        year=2014,
        # The scale of LIVE's DMOS. The network's output is unbounded; on natural images it is well inside.
        score_range=ScoreRange(low=0.0, high=100.0, higher_is_better=False),
        backbone="one convolution, three linear layers",
        input_rule="grey (Pillow's L) at native size; every full 32x32 patch that ends before the last row and column",
        minimum_size=PATCH + 1,
        parity_tolerance=1e-2,
    )
    sources = MappingProxyType(
        {
            "cnniqa": WeightsSource(
                licence="none stated by the publisher: research use",
                commercial=CommercialUse.NOT_STATED,
                download="https://github.com/lidq92/CNNIQA/raw/fb36830fc6491ef8db2dc651aaad94cdbee131fa/models/CNNIQA-LIVE",
                sha256="79cc404d0da3e76e51b6680c4d6edd7332399ba7ed8af3306bdd16e95c7bda7e",
                size=2_900_940,
            )
        }
    )

    neighbours: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 50, 7)
        self.fc1 = WideLinear(100, 800)
        self.fc2 = WideLinear(800, 800)
        self.fc3 = RowLinear(800, 1)
        # Nine kernels; each picks one pixel of the 3×3 window.
        self.register_buffer("neighbours", torch.eye(9).reshape(9, 1, 3, 3), persistent=False)

    def normalised(self, patches: Tensor) -> Tensor:
        """(x − mean) / (deviation + 1) over 3×3 windows; a symmetric border of one pixel repeats the edge."""
        windows = functional.conv2d(functional.pad(patches, (1, 1, 1, 1), mode="replicate"), self.neighbours)
        mean = windows.mean(dim=1, keepdim=True)
        variance = (windows - mean).square().mean(dim=1, keepdim=True)
        # The constant keeps the derivative finite on flat patches.
        return (patches - mean) / (torch.sqrt(variance + 1e-12) + 1.0)

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W) in [0, 1], 33 pixels a side or more."""
        responses = self.conv1(self.normalised(patches_of(grey_levels(image))))
        pooled = torch.cat([responses.amax(dim=(2, 3)), responses.amin(dim=(2, 3))], dim=1)
        hidden = torch.relu(self.fc2(torch.relu(self.fc1(pooled))))
        scores: Tensor = self.fc3(hidden)
        return scores.reshape(image.shape[0], -1).mean(dim=1)
