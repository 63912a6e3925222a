"""Guided diffusion's 256 × 256 model as a denoiser (Dhariwal & Nichol, NeurIPS 2021; arXiv 2105.05233).

The weights are OpenAI's unconditional ImageNet model, which DiffPure (Nie et al. 2022) purifies with. An image p in
[0, 1] with noise of standard deviation s added is a state of its diffusion process, up to a factor
(`scoreguard.chain.sampling`):

    ᾱ = 1/(1 + 4s²),   x_t = √ᾱ·(2p − 1),   x̂₀ = (x_t − √(1 − ᾱ)·ε(x_t, t))/√ᾱ,   x' = clip₀₁((x̂₀ + 1)/2)

t is the step at which the linear schedule of 1000 steps has that noise, interpolated; the network counts from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from scoreguard.chain.sampling import linear_schedule
from scoreguard_export.defences.base import DefenceFacts, Differentiability, Parameter, Tiles
from scoreguard_export.defences.guided_network import GuidedNetwork
from scoreguard_export.defences.jpeg_codec import extend
from scoreguard_export.defences.learned import LearnedDefence
from scoreguard_export.graph_module import NO_FILES
from scoreguard_export.weights.source import CommercialUse, WeightsSource


class GuidedDenoiser(LearnedDefence):
    """Remove noise of the given strength; input images may leave [0, 1], as noisy ones do, but the result never does.

    An image whose height or width is no multiple of 32 is extended by its last row or column, and cropped back.

    Receptive field: the whole image, because of norms and attention; stride 32. Larger images are processed in tiles of
    256 pixels, the size that the model was trained at, each independently: the result is close to the whole image's,
    but not equal.

    The model has 552,814,086 parameters. Its convolutions' weights are stored in half precision and widened on use, so
    a graph takes 1.2 GB, below the 2 GB limit of one ONNX file.
    """

    facts = DefenceFacts(
        name="guided-diffusion",
        title="Guided diffusion denoiser",
        paper="Dhariwal, Nichol: Diffusion models beat GANs on image synthesis. NeurIPS (arXiv 2105.05233)",
        year=2021,
        parameters=(
            Parameter(
                name="sigma",
                description="Standard deviation of the noise to remove, in levels of 255.",
                default=10.0,
                minimum=0.0,
                maximum=255.0,
            ),
        ),
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=1,
        parity_tolerance=1e-4,
    )
    sources: ClassVar[Mapping[str, WeightsSource]] = {
        "guided-diffusion": WeightsSource(
            licence="MIT",
            commercial=CommercialUse.YES,
            download="https://openaipublic.blob.core.windows.net/diffusion/jul-2021/256x256_diffusion_uncond.pt",
        )
    }
    reach = None
    stride = 32

    def __init__(self, **structural: float) -> None:
        """Set up an untrained network.

        Raises:
            ParameterError: a structural value that has no exported variant.
        """
        super().__init__(**structural)
        schedule = linear_schedule()
        levels = [255.0 * schedule.sigma(step) for step in range(1, schedule.steps + 1)]
        # A buffer would need an annotation, which the TorchScript compiler cannot read here.
        self.levels = nn.Parameter(torch.tensor(levels), requires_grad=False)

    @classmethod
    def tiles(cls, structural: Mapping[str, float]) -> Tiles | None:
        """Return tiles of 256 pixels that overlap by 32."""
        return Tiles(size=256, overlap=32, multiple=cls.stride)

    @classmethod
    def from_weights(cls, files: Mapping[str, Path] = NO_FILES, **structural: float) -> Self:
        """Build the denoiser in evaluation mode, its convolutions' weights rounded to half precision.

        Args:
            files: The checkpoint, as `guided-diffusion`.
            structural: There are none.

        Raises:
            ParameterError: a structural value that has no exported variant.
            WeightsError: the file is not given, missing, unreadable, or holds other names or shapes.
        """
        defence = super().from_weights(files, **structural)
        if isinstance(defence.network, GuidedNetwork):
            defence.network.narrow()
        return defence

    def untrained(self) -> nn.Module:
        """Make a network with the checkpoint's names and shapes."""
        return GuidedNetwork()

    def forward(self, image: Tensor, sigma: Tensor) -> Tensor:
        """Denoise images (N, 3, H, W).

        Args:
            image: In [0, 1] with noise added.
            sigma: 0-d, in levels of 255.
        """
        height, width = image.shape[2], image.shape[3]
        whole = extend(image, (height + 31) // 32 * 32, (width + 31) // 32 * 32)
        # √ᾱ, and √(1 − ᾱ)/√ᾱ.
        ratio = (2.0 / 255.0) * sigma
        kept = torch.rsqrt(1.0 + ratio * ratio).to(image.dtype)
        state = 2.0 * whole - 1.0
        noise = self.network(state * kept, self._step(sigma))[:, :3]
        clean = (state - ratio.to(image.dtype) * noise) * 0.5 + 0.5
        return torch.clamp(clean[:, :, :height, :width], 0.0, 1.0)

    def _step(self, sigma: Tensor) -> Tensor:
        """Return the schedule's step with this noise, from 0, 0-d: each gap between steps adds the fraction crossed."""
        below, above = self.levels[:-1], self.levels[1:]
        crossed = (sigma.to(below.dtype) - below) / (above - below)
        return torch.clamp(crossed, 0.0, 1.0).sum()
