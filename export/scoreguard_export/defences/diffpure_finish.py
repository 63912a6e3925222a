"""The finishes of the diffusion purifiers, applied to the sample; each is a small graph, separate from the denoiser.

    edges      x' = m·x + (1 − m)·s,   m = 1 where |Sobel(luma(x))| / 4 > threshold
    unsharp    x' = clip₀₁(s + a·(s − Gaussian(s)))

x is the input image, s the sample. A vertical step from black to white has |Sobel| / 4 = 1 next to it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from scoreguard_export.defences.base import (
    Defence,
    DefenceFacts,
    Differentiability,
    Distribution,
    Parameter,
    RandomInput,
    RandomShape,
)
from scoreguard_export.defences.unsharp import Unsharp

_SAMPLED = RandomInput(name="sampled", distribution=Distribution.UNIFORM, shape=RandomShape.IMAGE)
"""The sample is an input with the image's shape, like noise, so it is exported and compared like noise."""

_SHARPEN = Unsharp.facts.graph_parameters

EDGE_PARAMETERS = (
    Parameter(
        name="threshold",
        description="Strength of an edge from which on pixels are kept: 1 = a step from black to white.",
        default=0.2,
        minimum=0.0,
        maximum=2.0,
    ),
)
UNSHARP_PARAMETERS = _SHARPEN


def _facts(
    name: str, title: str, parameters: tuple[Parameter, ...], *, minimum_size: int, tolerance: float
) -> DefenceFacts:
    return DefenceFacts(
        name=name,
        title=title,
        paper="Gushchin et al.: Adversarial purification for no-reference image-quality metrics (arXiv 2404.06957)",
        year=2024,
        parameters=parameters,
        random_inputs=(_SAMPLED,),
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=minimum_size,
        parity_tolerance=tolerance,
    )


def edge_strength(image: Tensor) -> Tensor:
    """Return the magnitude of the luma's Sobel gradient divided by 4, (N, 1, H, W); the border is repeated outwards."""
    red, green, blue = image[:, 0:1], image[:, 1:2], image[:, 2:3]
    luma = functional.pad(0.299 * red + 0.587 * green + 0.114 * blue, [1, 1, 1, 1], mode="replicate")
    down = luma[:, :, :-2] + 2.0 * luma[:, :, 1:-1] + luma[:, :, 2:]
    across = luma[:, :, :, :-2] + 2.0 * luma[:, :, :, 1:-1] + luma[:, :, :, 2:]
    horizontal = down[:, :, :, 2:] - down[:, :, :, :-2]
    vertical = across[:, :, 2:] - across[:, :, :-2]
    return torch.sqrt(horizontal.square() + vertical.square()) / 4.0


class EdgeFinish(Defence):
    """Keep the image's own pixels at edges."""

    facts = _facts("diffpure-edge-finish", "Edges kept", EDGE_PARAMETERS, minimum_size=1, tolerance=1e-6)

    def forward(self, image: Tensor, threshold: Tensor, sampled: Tensor) -> Tensor:
        """Join (N, 3, H, W) images and samples.

        Args:
            image: In [0, 1].
            threshold: 0-d.
            sampled: In [0, 1].
        """
        # The mask is a selection; no gradient passes through it.
        with_edge = edge_strength(image.detach()) > threshold
        return torch.where(with_edge, image, torch.clamp(sampled, 0.0, 1.0))


class UnsharpFinish(Defence):
    """Sharpen the sample."""

    facts = _facts("diffpure-unsharp-finish", "Sample sharpened", UNSHARP_PARAMETERS, minimum_size=2, tolerance=5e-5)

    def __init__(self) -> None:
        super().__init__()
        self.unsharp = Unsharp(blur_first=0.0)

    def forward(self, image: Tensor, sigma: Tensor, amount: Tensor, sampled: Tensor) -> Tensor:
        """Sharpen samples (N, 3, H, W); the image itself is not read.

        Args:
            image: In [0, 1].
            sigma: 0-d, in pixels; 0 selects the blur's rule.
            amount: 0-d.
            sampled: In [0, 1].
        """
        sharpened: Tensor = self.unsharp(torch.clamp(sampled, 0.0, 1.0), sigma, amount)
        return sharpened
