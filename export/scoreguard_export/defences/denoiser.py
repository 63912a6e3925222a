"""The shipped denoiser, as a purification by itself and as the model of the diffusion purifier.

    x' = clip₀₁(x − σ·n(x, σ))

The network is this project's own (`denoiser_net`), trained on photographs by `scoreguard-export train diffusion`. With
the noise of step t, σ_t = ½·√((1 − ᾱ_t)/ᾱ_t), it is the x̂₀ of Ho et al. 2020 (eq. 15): `scoreguard.chain.sampling`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from scoreguard_export.defences.base import DefenceFacts, Differentiability, Parameter
from scoreguard_export.defences.denoiser_net import STRIDE, DenoiserNetwork
from scoreguard_export.defences.shipped import SHIPPED, ShippedDefence
from scoreguard_export.weights.source import CommercialUse, WeightsSource


class Denoiser(ShippedDefence):
    """Remove noise of the given strength; too high a strength smooths the image, too low leaves noise.

    Input images may leave [0, 1], as noisy ones do; the result never does.
    """

    facts = DefenceFacts(
        name="denoiser",
        title="Denoiser",
        paper="scoreguard's own; trained by `scoreguard-export train diffusion`",
        year=2026,
        parameters=(
            Parameter(
                name="sigma",
                description="Standard deviation of the noise to remove, in levels of 255.",
                default=10.0,
                minimum=0.0,
                maximum=70.0,
            ),
        ),
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=1,
        parity_tolerance=1e-4,
    )
    sources: ClassVar[Mapping[str, WeightsSource]] = {
        "denoiser": WeightsSource(
            licence="Apache-2.0",
            commercial=CommercialUse.YES,
            shipped=SHIPPED / "denoiser.safetensors",
            url="what `scoreguard-export train diffusion` writes",
        )
    }
    reach = 96
    stride = STRIDE

    def untrained(self) -> nn.Module:
        """Make the network of the weights."""
        return DenoiserNetwork()

    def forward(self, image: Tensor, sigma: Tensor) -> Tensor:
        """Denoise images (N, 3, H, W).

        Args:
            image: In [0, 1] with noise added.
            sigma: 0-d, in levels of 255.
        """
        denoised: Tensor = self.network(image, sigma / 255.0)
        return torch.clamp(denoised, 0.0, 1.0)
