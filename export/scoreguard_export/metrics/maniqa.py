"""MANIQA: attention over channels and over space on a vision transformer (Yang et al., CVPR Workshops 2022).

A ViT-B/8 reads crops of 224×224 pixels. The tokens of its blocks 7 to 10, side by side, pass twice through attention
between channels, a 1×1 convolution and a windowed transformer. Every cell then has a score f and a weight w.

    score of a crop = Σ f·w / Σ w over its 28×28 cells,   score = mean over crops

The authors draw 20 crops at random; here they are the fixed grid of 20 that pyiqa published for this metric: 4 rows of
5 columns, a quarter of what is beside a crop apart, so a strip at the bottom of high images is not read. pyiqa pools
the cells of all crops together, which is another score. The benchmark of adversarial robustness (MSU) resizes the image
to 224×224 without smoothing, as its version of torchvision (0.14) resizes tensors, and reads it once: the variant
`as-benchmark`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.metrics.attention import joined_attention
from scoreguard_export.metrics.base import Metric, MetricFacts, ScoreRange
from scoreguard_export.metrics.imagenet import HALVES, normalised
from scoreguard_export.metrics.maniqa_swin import Windowed
from scoreguard_export.metrics.patches import mean_of_each, uniform_patches
from scoreguard_export.metrics.resize import two_tap_bilinear
from scoreguard_export.metrics.timm_models import timm_model
from scoreguard_export.weights.source import CommercialUse, WeightsSource

SIDE: Final = 224
_FIRST, _LAST = 6, 10
"""The blocks whose tokens are read: from the first to before the last, counted from 0."""


class _Channels(nn.Module):
    """Attention between channels, each of them a token of as many numbers as there are cells."""

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.c_q, self.c_k, self.c_v = nn.Linear(cells, cells), nn.Linear(cells, cells), nn.Linear(cells, cells)

    def forward(self, channels: Tensor) -> Tensor:
        """(N, C, T) → the same shape."""
        products = torch.matmul(self.c_q(channels), self.c_k(channels).transpose(1, 2))
        weights = torch.softmax(products * channels.shape[2] ** -0.5, dim=2)
        answer = torch.matmul(weights, self.c_v(channels))
        # The published network turns the answer and reads it in the old shape.
        return answer.transpose(1, 2).reshape(channels.shape) + channels


def _head(width: int, last: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, 1), last)


class Maniqa(Metric):
    """Predicted quality, 0 and above; the MOS of KonIQ-10k on a scale of 0 to 1. Higher is better."""

    facts = MetricFacts(
        name="maniqa",
        title="MANIQA (ViT-B/8)",
        paper=(
            "Yang, Wu, Shi, Lao, Gong, Cao, Wang, Yang: MANIQA: Multi-dimension Attention Network for No-Reference "
            "Image Quality Assessment. CVPR Workshops"
        ),
        year=2022,
        # The scale of the MOS that it was trained on. The output is not bounded above: the benchmark of adversarial
        # robustness (MSU) publishes 0.188 to 0.797 on the images of NIPS 2017, and up to 1.4 after attacks.
        score_range=ScoreRange(low=0.0, high=1.0),
        backbone="ViT-B/8 and Swin blocks",
        input_rule=(
            "RGB at native size, 20 crops of 224x224 (as-benchmark: resized to 224x224 without smoothing); normalised "
            "to [-1, 1]"
        ),
        minimum_size=SIDE,
        parity_tolerance=1e-4,
        variants=("as-benchmark",),
    )
    sources = MappingProxyType(
        {
            "maniqa": WeightsSource(
                licence="Apache-2.0",
                commercial=CommercialUse.YES,
                download="https://github.com/IIGROUP/MANIQA/releases/download/Koniq10k/ckpt_koniq10k.pt",
            )
        }
    )
    side: ClassVar[int] = SIDE
    """Side of a crop, in pixels."""
    crops: ClassVar[int] = 20
    """Their number, at native size."""

    def __init__(self, *, variant: str = "") -> None:
        super().__init__()
        self.resizes = variant == "as-benchmark"
        vit: Any = self.untrained()
        self.vit: Any = vit
        width, cells = int(vit.embed_dim), self.side // int(vit.patch_embed.patch_size[0])
        self.tablock1 = nn.ModuleList(_Channels(cells * cells) for _ in range(2))
        self.conv1 = nn.Conv2d((_LAST - _FIRST) * width, width, 1)
        self.swintransformer1 = Windowed(width, width, cells)
        self.tablock2 = nn.ModuleList(_Channels(cells * cells) for _ in range(2))
        self.conv2 = nn.Conv2d(width, width // 2, 1)
        self.swintransformer2 = Windowed(width // 2, width, cells)
        self.fc_score, self.fc_weight = _head(width // 2, nn.ReLU()), _head(width // 2, nn.Sigmoid())

    def untrained(self) -> nn.Module:
        """Make the vision transformer, with the checkpoint's names and shapes.

        Raises:
            MissingExtraError: timm is not installed.
        """
        return timm_model("vit_base_patch8_224", self.facts.name)

    def cut(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) → (N · 20, 3, side, side), image by image."""
        return uniform_patches(image, self.side, self.crops)

    def tokens(self, crops: Tensor) -> Tensor:
        """(M, 3, side, side) → (M, T, 4 · C): the tokens of four blocks, without the class token."""
        vit: Any = self.vit
        patches = vit.patch_embed.proj(normalised(crops, HALVES, HALVES)).flatten(2).transpose(1, 2)
        first = vit.cls_token.expand(patches.shape[0], -1, -1)
        hidden, kept = torch.cat([first, patches], dim=1) + vit.pos_embed, []
        for index, block in enumerate(vit.blocks[:_LAST]):
            layer = block.attn
            hidden = hidden + layer.proj(joined_attention(layer.qkv(block.norm1(hidden)), layer.num_heads))
            hidden = hidden + block.mlp(block.norm2(hidden))
            if index >= _FIRST:
                kept.append(hidden[:, 1:])
        return torch.cat(kept, dim=2)

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W) in [0, 1], 224 pixels a side or more."""
        crops = two_tap_bilinear(image, self.side, self.side) if self.resizes else self.cut(image)
        channels = self.tokens(crops).transpose(1, 2)
        for block in self.tablock1:
            channels = block(channels)
        cells = self.swintransformer1(_projected(self.conv1, channels))
        channels = cells.transpose(1, 2)
        for block in self.tablock2:
            channels = block(channels)
        cells = self.swintransformer2(_projected(self.conv2, channels))
        scores, weights = self.fc_score(cells)[:, :, 0], self.fc_weight(cells)[:, :, 0]
        each = (scores * weights).sum(dim=1) / weights.sum(dim=1)
        return mean_of_each(each[:, None], image)


def _projected(layer: nn.Conv2d, channels: Tensor) -> Tensor:
    """(M, C, T) → (M, T, D): a 1×1 convolution as a product, whose sums do not depend on the number of crops."""
    return functional.linear(channels.transpose(1, 2), layer.weight.flatten(1), layer.bias)
