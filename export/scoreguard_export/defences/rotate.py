"""Random rotation as a purification, about the centre: x'(p) = x(R(θ)·p), θ uniform in ±degrees, black outside."""

from __future__ import annotations

import math

import onnx
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
from scoreguard_export.defences.rotate_graph import build_rotate_graph

_TERMS = 16
"""Number of terms in the series of cosine and sine: exact to double precision up to half a turn."""


class Rotate(Defence):
    """Turn each image by a separate angle; the size is kept and the corners become black.

    A positive angle turns counter-clockwise, as in torchvision. The study uses the nearest pixel and ±5 degrees, the
    later benchmark ±15.

    The nearest pixel is determined in double precision, from sums and products only: engines differ in the last bit of
    a cosine, and that bit moves whole pixels.
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
        """Rotate images (N, 3, H, W).

        Args:
            image: In [0, 1].
            degrees: 0-d, 0 to 180.
            turn: (N,) in [0, 1): 0 is −degrees, ½ no turn, 1 +degrees.
        """
        angle = (turn.to(torch.float64) * 2.0 - 1.0) * degrees.to(torch.float64) * self.radian
        cosine, sine = self._cosine_and_sine(angle)
        columns, rows = self._halves(image, 3)[None, None, :], self._halves(image, 2)[None, :, None]
        if self.bilinear:
            return self._interpolated(image, cosine, sine, columns, rows)
        return self._nearest(image, cosine, sine, columns, rows)

    def _cosine_and_sine(self, angle: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1, 1) each."""
        powers = torch.pow((angle * angle)[:, None], self.exponents)
        cosine, sine = (powers * self.cosine).sum(dim=1), angle * (powers * self.sine).sum(dim=1)
        return cosine[:, None, None], sine[:, None, None]

    def _halves(self, image: Tensor, axis: int) -> Tensor:
        """Return positions along an axis from the centre, in half pixels, so that they are whole numbers."""
        length = image.shape[axis]
        return (2 * torch.arange(length, device=image.device) - (length - 1)).to(torch.float64)

    def _interpolated(self, image: Tensor, cosine: Tensor, sine: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
        height, width = image.shape[2], image.shape[3]
        # A sampling grid has the outer edges of the image at -1 and 1.
        across = cosine * columns / width - sine * rows / width
        down = sine * columns / height + cosine * rows / height
        grid = torch.stack([across, down], dim=3).to(image.dtype)
        turned = functional.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        return torch.clamp(turned, 0.0, 1.0)

    def _nearest(self, image: Tensor, cosine: Tensor, sine: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
        """Take every pixel by its index in an image with a black border, which stands for everything outside.

        Each index is a sum of one number for the column and one for the row. The border starts two pixels before the
        image: an even shift does not change how ties are rounded.
        """
        height, width = image.shape[2], image.shape[3]
        across = (cosine * columns + (width + 3)) * 0.5 - sine * rows * 0.5
        down = sine * columns * 0.5 + (cosine * rows + (height + 3)) * 0.5
        across = across.round_().clamp_(1, width + 2)
        down = down.round_().clamp_(1, height + 2)
        taken = down.mul_(width + 3).add_(across).to(torch.int64).flatten(1)[:, None].expand(-1, 3, -1)
        bordered = functional.pad(image, [2, 1, 2, 1]).flatten(2)
        return bordered.gather(2, taken).reshape(image.shape)

    def onnx_model(self, opset: int) -> onnx.ModelProto:
        """Build the graph by hand: a captured graph spreads the indices over the channels, in twice as many bytes."""
        names = {"radian": self.radian, "exponents": self.exponents, "cosines": self.cosine, "sines": self.sine}
        series = {name: value.numpy() for name, value in names.items()}
        return build_rotate_graph(series, bilinear=self.bilinear, opset=opset)
