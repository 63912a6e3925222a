"""Random rotation as a purification, about the centre: x'(p) = x(R(θ)·p), θ uniform in ±degrees, black outside."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.defences.base import (
    Defence,
    DefenceFacts,
    Differentiability,
    Distribution,
    Parameter,
    RandomInput,
    RandomShape,
    switch,
)

_TERMS = 16
"""Of the series of cosine and sine: exact to double precision up to half a turn."""


class Rotate(Defence):
    """Turn each picture by an angle of its own; the size is kept and the corners turn black.

    A positive angle turns counter-clockwise, as in torchvision. The study takes the nearest pixel and ±5 degrees, the
    later benchmark ±15.

    Which pixel is nearest is decided in double precision, from sums and products alone: a cosine differs between
    engines in its last bit, and that bit moves whole pixels.
    """

    facts = DefenceFacts(
        name="rotate",
        title="Random rotation",
        paper="Gushchin et al.: Adversarial purification for no-reference image-quality metrics (arXiv 2404.06957)",
        year=2024,
        parameters=(
            Parameter(
                name="degrees",
                description="Largest angle, in degrees; the angle is drawn evenly from minus this to plus this.",
                default=5.0,
                minimum=0.0,
                maximum=180.0,
            ),
            switch("bilinear", "1 to interpolate four pixels, 0 to take the nearest.", default=False),
        ),
        random_inputs=(RandomInput(name="turn", distribution=Distribution.UNIFORM, shape=RandomShape.ITEM),),
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=1,
        parity_tolerance=1e-4,
    )

    def __init__(self, *, bilinear: float = 0.0) -> None:
        super().__init__(bilinear=bilinear)
        self.bilinear = bool(bilinear)
        # Buffers, because the ONNX exporter rounds a Python float to single precision.
        self.radian = nn.Buffer(torch.tensor(math.pi / 180.0, dtype=torch.float64))
        self.exponents = nn.Buffer(torch.arange(_TERMS, dtype=torch.float64))
        self.cosine = nn.Buffer(self._series(0))
        self.sine = nn.Buffer(self._series(1))

    @staticmethod
    def _series(first: int) -> Tensor:
        """(−1)ᵏ / (2k + first)!"""
        return torch.tensor([(-1.0) ** k / math.factorial(2 * k + first) for k in range(_TERMS)], dtype=torch.float64)

    def forward(self, image: Tensor, degrees: Tensor, turn: Tensor) -> Tensor:
        """Rotate pictures (N, 3, H, W).

        Args:
            image: In [0, 1].
            degrees: 0-d, 0 to 180.
            turn: (N,) in [0, 1): 0 is −degrees, ½ no turn, 1 +degrees.
        """
        angle = (turn.to(torch.float64) * 2.0 - 1.0) * degrees.to(torch.float64) * self.radian
        across, down = self._sources(angle, image.shape[2], image.shape[3])
        grid = torch.stack([across, down], dim=3).to(image.dtype)
        if self.bilinear:
            turned = functional.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            return torch.clamp(turned, 0.0, 1.0)
        return functional.grid_sample(image, grid, mode="nearest", padding_mode="zeros", align_corners=False)

    def _sources(self, angle: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """(N, H, W) each: where a pixel comes from, −1 and 1 being the outer edges of the picture."""
        powers = torch.pow((angle * angle)[:, None], self.exponents)
        cosine = (powers * self.cosine).sum(dim=1)[:, None, None]
        sine = (angle * (powers * self.sine).sum(dim=1))[:, None, None]
        # In half pixels from the centre, which keeps them whole.
        columns = (2 * torch.arange(width, device=angle.device) - (width - 1)).to(torch.float64)[None, None, :]
        rows = (2 * torch.arange(height, device=angle.device) - (height - 1)).to(torch.float64)[None, :, None]
        across = cosine * columns - sine * rows
        down = sine * columns + cosine * rows
        return self._on_grid(across, width), self._on_grid(down, height)

    def _on_grid(self, halves: Tensor, length: int) -> Tensor:
        if self.bilinear:
            return halves / length
        pixels = torch.round((halves + (length - 1)) * 0.5)
        return (2.0 * pixels - (length - 1)) / length
