"""Real-ESRGAN as a purification: ×4 by a compact network, then back to the original size (Wang et al., ICCVW 2021).

The network is `realesr-general-x4v3`: 34 convolutions of 3 × 3 at the size of the image, PReLU between, and the result
added to the nearest-neighbour enlargement:

    x₄ = shuffle₄(conv₃₄(… prelu(conv₁(x)))) + nearest₄(x),   x' = clip₀₁(bicubic_{1/4}(x₄))

Two sets of weights were published; the second (`-wdn`) denoises less strongly. A denoising strength d uses d · general
+ (1 − d) · wdn, weight by weight; the study uses d = 0.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.defences.base import DefenceFacts, Differentiability, Parameter
from scoreguard_export.defences.learned import LearnedDefence
from scoreguard_export.weights.source import CommercialUse, WeightsSource

_SCALE = 4
_DEPTH = 34
_WIDTH = 64
_RELEASE = "https://github.com/xinntao/Real-ESRGAN/releases/download/v0.2.5.0"


class _Network(nn.Module):
    """SRVGGNetCompact; layer names are the checkpoint's."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, _WIDTH, 3, padding=1), nn.PReLU(_WIDTH)]
        for _ in range(_DEPTH - 2):
            layers += [nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1), nn.PReLU(_WIDTH)]
        self.body = nn.Sequential(*layers, nn.Conv2d(_WIDTH, 3 * _SCALE**2, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) → (N, 3, 4H, 4W)."""
        detail = functional.pixel_shuffle(self.body(image), _SCALE)
        return detail + functional.interpolate(image, scale_factor=float(_SCALE), mode="nearest")


class RealEsrgan(LearnedDefence):
    """Enlarge by a network that was trained to undo degradations, then shrink to the original size.

    The reduction is bicubic with a widened filter, like Pillow's; the study's code uses OpenCV's Lanczos. The study
    also passes RGB to a network that expects BGR; here the channels are in the right order.

    The default variant (`denoise` 1) needs only the general weights; the study's 0.2 needs the second file too, as
    `realesrgan-wdn`. Without that file the variant is not exported.

    Receptive field: 36 pixels in each direction (34 convolutions, and 2 for the reduction); stride 1. A tile that
    overlaps by 36 pixels gives the same pixels as the whole image. The enlarged image takes 16 times the memory.
    """

    facts = DefenceFacts(
        name="realesrgan",
        title="Real-ESRGAN (general, x4, v3)",
        paper="Wang, Xie, Dong, Shan: Real-ESRGAN: Training real-world blind super-resolution with pure synthetic "
        "data. ICCV Workshops (arXiv 2107.10833)",
        year=2021,
        parameters=(
            Parameter(
                name="denoise",
                description="Share of the general weights: 1, or the study's 0.2 where the wdn weights are given.",
                default=1.0,
                minimum=0.0,
                maximum=1.0,
                choices=(1.0, 0.2),
            ),
        ),
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=1,
        parity_tolerance=1e-4,
    )
    sources: ClassVar[Mapping[str, WeightsSource]] = {
        # Several public programs check this release by these digests; no file was available to verify them here.
        "realesrgan": WeightsSource(
            licence="BSD-3-Clause",
            commercial=CommercialUse.YES,
            download=f"{_RELEASE}/realesr-general-x4v3.pth",
            sha256="8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292",
        ),
        "realesrgan-wdn": WeightsSource(
            licence="BSD-3-Clause",
            commercial=CommercialUse.YES,
            download=f"{_RELEASE}/realesr-general-wdn-x4v3.pth",
            sha256="1641f8c4464b9f097c9fdda5589273713f67cf59f3d909e0bd688f0cee269dca",
        ),
    }
    reach = 36

    def __init__(self, *, denoise: float = 1.0) -> None:
        super().__init__(denoise=denoise)
        self.denoise = denoise

    def untrained(self) -> nn.Module:
        """Make a network with the checkpoint's names and shapes."""
        return _Network()

    @classmethod
    def needed(cls, structural: Mapping[str, float]) -> tuple[str, ...]:
        """Both files, except at full strength."""
        return tuple(cls.sources)[:1] if structural.get("denoise", 1.0) == 1.0 else tuple(cls.sources)

    def combined(self, states: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Interpolate, weight by weight."""
        general, other = states["realesrgan"], states["realesrgan-wdn"]
        return {name: self.denoise * general[name] + (1.0 - self.denoise) * other[name] for name in general}

    def forward(self, image: Tensor) -> Tensor:
        """Restore images (N, 3, H, W) in [0, 1]."""
        size = [image.shape[2], image.shape[3]]
        large = self.network(image)
        small = functional.interpolate(large, size=size, mode="bicubic", align_corners=False, antialias=True)
        return torch.clamp(small, 0.0, 1.0)
