"""Bilinear downscaling as a purification: out = max(1, ⌊in·scale + ½⌋) in each direction, in float32."""

from __future__ import annotations

import onnx
import torch
from torch import Tensor
from torch.nn import functional

from scoreguard_export.defences.base import Defence, DefenceFacts, Differentiability, Parameter, switch
from scoreguard_export.defences.resize_graph import build_resize_graph
from scoreguard_export.defences.straight_through import straight_through


def _interpolated(image: Tensor, height: int, width: int, antialias: bool) -> Tensor:
    return functional.interpolate(
        image, size=[height, width], mode="bilinear", align_corners=False, antialias=antialias
    )


class Resize(Defence):
    """Shrink images; the metric scores the small image unless it is enlarged again.

    Pixel centres at half integers (`align_corners=False`). With `antialias`, the triangle filter widens with the
    reduction, as in Pillow and in torchvision ≥ 0.17; without it the filter keeps two taps, as in OpenCV and in the
    torchvision of the published studies. The enlargement (`restore`) never needs it.
    """

    facts = DefenceFacts(
        name="resize",
        title="Resize",
        paper="Gushchin et al.: Adversarial purification for no-reference image-quality metrics (arXiv 2404.06957)",
        year=2024,
        parameters=(
            Parameter(
                name="scale",
                description="Factor on height and width.",
                default=0.5,
                minimum=0.1,
                maximum=1.0,
            ),
            switch("antialias", "1 to widen the filter with the reduction, 0 to keep two taps.", default=True),
            switch("restore", "1 to enlarge the result to the original size, 0 to leave it small.", default=False),
        ),
        differentiability=Differentiability.EXACT,
        size_preserving=False,
        minimum_size=2,
        parity_tolerance=1e-4,
    )

    def __init__(self, *, antialias: float = 1.0, restore: float = 0.0) -> None:
        super().__init__(antialias=antialias, restore=restore)
        self.antialias = bool(antialias)
        self.restore = bool(restore)

    def forward(self, image: Tensor, scale: Tensor) -> Tensor:
        """Shrink images (N, 3, H, W).

        Args:
            image: In [0, 1].
            scale: 0-d, 0.1 to 1.
        """
        height, width = image.shape[2], image.shape[3]
        low, narrow = self._shrunk(height, scale), self._shrunk(width, scale)
        if self.antialias:
            # Height, then width: torch 2.13 (CPU) mixes up the pixels of a column when a height changes at width 1.
            small = _interpolated(_interpolated(image, low, width, True), low, narrow, True)
        else:
            small = _interpolated(image, low, narrow, False)
        if self.restore:
            small = _interpolated(small, height, width, False)
        return straight_through(small, torch.clamp(small, 0.0, 1.0))

    def _shrunk(self, length: int, scale: Tensor) -> int:
        return max(1, int(torch.floor(float(length) * scale + 0.5).item()))

    def onnx_model(self, opset: int) -> onnx.ModelProto:
        """Build the graph by hand: torch.export does not carry a size that depends on a tensor's value into Resize."""
        return build_resize_graph(antialias=self.antialias, restore=self.restore, opset=opset)
