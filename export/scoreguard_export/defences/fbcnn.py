"""FBCNN: undoing JPEG of an estimated or given quality (Jiang, Zhang & Timofte, ICCV 2021; arXiv 2109.14573).

An encoder goes down to an eighth of the size; a branch estimates from its mean how strong the compression was,
b = 1 − quality/100, and an embedding of b scales and shifts the decoder's residual blocks, channel by channel:

    b = given or estimated,   (γ, β) = (σ(Wγ·e(b)), tanh(Wβ·e(b))),   y' = y + γ·res(y) + β   (their eq. 4)
    x' = clip₀₁(decoder(encoder(x); γ, β))

The layers are spandrel's; the weights are the authors' colour network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from scoreguard_export.defences.base import DefenceFacts, Differentiability, Parameter, Tiles
from scoreguard_export.defences.jpeg_codec import extend
from scoreguard_export.defences.learned import LearnedDefence
from scoreguard_export.libraries import library
from scoreguard_export.weights.source import CommercialUse, WeightsSource


class FbCnn(LearnedDefence):
    """Remove JPEG artifacts, such as blocks, ringing and false colours, and with them perturbations in fine detail.

    A quality below the true one smooths more; one above it keeps more detail.

    An image whose height or width is no multiple of 8 is extended by its last row or column, and cropped back.

    Receptive field: 249 pixels in each direction for a given quality; stride 8. Tiles that overlap by 256 then give the
    same pixels as the whole image. With quality 0 the estimate uses the whole image, or each tile separately; differing
    estimates may leave visible seams, which a given quality avoids.
    """

    facts = DefenceFacts(
        name="fbcnn",
        title="FBCNN JPEG artefact removal",
        paper="Jiang, Zhang, Timofte: Towards flexible blind JPEG artifacts removal. ICCV (arXiv 2109.14573)",
        year=2021,
        parameters=(
            Parameter(
                name="quality",
                description="JPEG quality to undo, in percent; 0 = as the network estimates it.",
                default=0.0,
                minimum=0.0,
                maximum=100.0,
                integer=True,
            ),
        ),
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=1,
        parity_tolerance=1e-4,
    )
    sources: ClassVar[Mapping[str, WeightsSource]] = {
        "fbcnn": WeightsSource(
            licence="Apache-2.0",
            commercial=CommercialUse.YES,
            download="https://github.com/jiaxi-jiang/FBCNN/releases/download/v1.0/fbcnn_color.pth",
        )
    }
    reach = None
    stride = 8

    network: Any  # spandrel has no types

    @classmethod
    def tiles(cls, structural: Mapping[str, float]) -> Tiles | None:
        """Return tiles of 1024 pixels that overlap by the receptive field, in whole blocks."""
        return Tiles(size=1024, overlap=256, multiple=cls.stride)

    def untrained(self) -> nn.Module:
        """Make a network with the checkpoint's names and shapes.

        Raises:
            MissingExtraError: spandrel is not installed.
        """
        network: nn.Module = library("spandrel.architectures.FBCNN", "restorers", self.facts.name).FBCNN()
        return network

    def forward(self, image: Tensor, quality: Tensor) -> Tensor:
        """Restore images (N, 3, H, W) in [0, 1].

        Args:
            image: In [0, 1].
            quality: 0-d, 1 to 100, or 0 for the network's own estimate.
        """
        height, width = image.shape[2], image.shape[3]
        whole = extend(image, (height + 7) // 8 * 8, (width + 7) // 8 * 8)
        restored = self._restored(whole, quality)
        return torch.clamp(restored[:, :, :height, :width], 0.0, 1.0)

    def _restored(self, whole: Tensor, quality: Tensor) -> Tensor:
        # The library's own forward computes sizes with NumPy; they would be frozen in the graphs.
        layers = self.network
        full = layers.m_head(whole)
        half = layers.m_down1(full)
        quarter = layers.m_down2(half)
        eighth = layers.m_down3(quarter)
        encoded = layers.m_body_encoder(eighth)
        told = layers.qf_embed(self._badness(encoded, quality))
        features = layers.m_body_decoder(encoded) + eighth
        features = _raised(layers.m_up3, features, layers.to_gamma_3(told), layers.to_beta_3(told)) + quarter
        features = _raised(layers.m_up2, features, layers.to_gamma_2(told), layers.to_beta_2(told)) + half
        features = _raised(layers.m_up1, features, layers.to_gamma_1(told), layers.to_beta_1(told)) + full
        restored: Tensor = layers.m_tail(features)
        return restored

    def _badness(self, encoded: Tensor, quality: Tensor) -> Tensor:
        """Return 1 − quality/100 for each image, (N, 1)."""
        estimated: Tensor = self.network.qf_pred(encoded)
        told = (1.0 - quality / 100.0).to(estimated.dtype)
        return torch.where(quality > 0.0, told, estimated)


def _raised(layers: nn.ModuleList, features: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Double the size, then apply the blocks that the quality controls."""
    features = layers[0](features)
    for block in layers[1:]:
        features = block(features, scale, shift)
    return features
