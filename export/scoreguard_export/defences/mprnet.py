"""MPRNet as a purification: denoising in three stages (Zamir et al.: Multi-stage progressive image restoration, 2021).

    x' = clip₀₁(x + tail(stage₃(x; stage₂(x; stage₁(x)))))

The stages read quarters, halves and the whole image. The weights are the authors' denoising model, trained on SIDD.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from scoreguard_export.defences.base import DefenceFacts, Differentiability, Tiles
from scoreguard_export.defences.learned import LearnedDefence
from scoreguard_export.defences.mprnet_network import MprNetwork
from scoreguard_export.weights.source import CommercialUse, WeightsSource


def _mirrored(image: Tensor, axis: int) -> Tensor:
    """Extend an axis to a multiple of eight about its last row or column, as the authors' demo does."""
    length = image.shape[axis]
    taken = torch.arange((length + 7) // 8 * 8, device=image.device)
    return image.index_select(axis, torch.where(taken < length, taken, 2 * (length - 1) - taken))


class MprNet(LearnedDefence):
    """Remove camera noise; has no parameters.

    An image whose height or width is no multiple of 8 is mirrored at its lower and right border, and cropped back.

    Receptive field: the whole image, because it is cut into quarters and channels are weighted by their means; stride
    8. Each tile is processed independently; the result is close to the whole image's, but not equal. Images with a side
    above 512 pixels are still read in tiles, since the whole does not fit into memory.
    """

    facts = DefenceFacts(
        name="mprnet",
        title="MPRNet denoiser",
        paper="Zamir, Arora, Khan, Hayat, Khan, Yang, Shao: Multi-stage progressive image restoration. CVPR "
        "(arXiv 2102.02808)",
        year=2021,
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=5,
        parity_tolerance=1e-4,
    )
    sources: ClassVar[Mapping[str, WeightsSource]] = {
        "mprnet": WeightsSource(
            licence="Academic Public License: non-commercial use",
            commercial=CommercialUse.NO,
            url="the pre-trained denoising model that https://github.com/swz30/MPRNet links to in "
            "Denoising/pretrained_models (model_denoising.pth)",
        )
    }
    reach = None
    stride = 8

    @classmethod
    def tiles(cls, structural: Mapping[str, float]) -> Tiles | None:
        """Return tiles of 512 pixels that overlap by 64."""
        return Tiles(size=512, overlap=64, multiple=cls.stride)

    def untrained(self) -> nn.Module:
        """Make a network with the checkpoint's names and shapes."""
        return MprNetwork()

    def forward(self, image: Tensor) -> Tensor:
        """Denoise images (N, 3, H, W) in [0, 1], 5 pixels a side or more: fewer cannot be mirrored up to 8."""
        restored = self.network(_mirrored(_mirrored(image, 2), 3))
        return torch.clamp(restored[:, :, : image.shape[2], : image.shape[3]], 0.0, 1.0)
