"""Non-local means as a purification: each pixel becomes a mean of pixels with similar surroundings.

Buades, Coll and Morel, "A non-local algorithm for image denoising", CVPR 2005, in the pixelwise form of the same
authors' "Non-Local Means Denoising", Image Processing On Line 1, 2011, with σ = 0:

    y(p) = Σ w(p, q)·x(q) / Σ w(p, q),   w = exp(−D(p, q)/h²),

over the q of a square around p; D is the mean squared difference of the patches around p and q, over all channels.
"""

from __future__ import annotations

import onnx
import torch
from torch import Tensor

from scoreguard_export.defences.base import DefenceFacts, Differentiability, Parameter
from scoreguard_export.defences.nlm_graph import build_nlm_graph
from scoreguard_export.defences.pair_mean import PairMean


class NonLocalMeans(PairMean):
    """Average similar pixels, as OpenCV's `fastNlMeansDenoising` does on 8-bit images with its default norm.

    Borders mirror about the edge pixel's centre (reflect-101), far enough for the widest search. OpenCV searches 21
    pixels by default; the default here is 11, which takes about a quarter of the time. The search is an input, and the
    loop over its offsets stays a loop in both graphs. A gradient keeps several images for each pair of offsets in
    memory.
    """

    facts = DefenceFacts(
        name="nlm",
        title="Non-local means",
        paper="Buades, Coll and Morel: A non-local algorithm for image denoising",
        year=2005,
        parameters=(
            Parameter(
                name="patch",
                description="Height and width of the patches that are compared, in pixels.",
                default=7.0,
                minimum=3.0,
                maximum=7.0,
                integer=True,
                choices=(3.0, 5.0, 7.0),
                at_most_side=True,
            ),
            Parameter(
                name="strength",
                description="h, in pixel units of [0, 1]: the difference of patches that counts; 0.04 is 10 of 255.",
                default=0.04,
                minimum=0.005,
                maximum=1.0,
            ),
            Parameter(
                name="search",
                description="Height and width of the searched square, in pixels; an even number counts as one more.",
                default=11.0,
                minimum=3.0,
                maximum=21.0,
                integer=True,
                at_most_side=True,
            ),
        ),
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=14,
        parity_tolerance=1e-5,
    )

    def __init__(self, *, patch: float = 7.0) -> None:
        super().__init__(around=int(patch) // 2, patch=patch)
        self.patch = int(patch)

    def forward(self, image: Tensor, strength: Tensor, search: Tensor) -> Tensor:
        """Denoise images (N, 3, H, W).

        Args:
            image: In [0, 1].
            strength: 0-d, 0.005 to 1.
            search: 0-d, in pixels, 3 to 21.
        """
        falloff = -1.0 / (torch.square(strength.to(image.dtype)) * float(3 * self.patch * self.patch))
        reach = int(torch.floor(search * 0.5).item())
        span = 2 * reach + 1
        places = range(span * span // 2 + 1, span * span)
        offsets = [(place // span - reach, place % span - reach) for place in places]
        return self.mean(image, offsets, reach, [falloff])

    def exponent(self, difference: Tensor, square_distance: int, scales: list[Tensor]) -> Tensor:
        """Return −D/h² at every position where a patch fits."""
        square = torch.square(difference)
        unlike = square[:, :1] + square[:, 1:2] + square[:, 2:]
        return self._box(self._box(unlike, 3), 2) * scales[0]

    def _box(self, values: Tensor, dim: int) -> Tensor:
        """Sum `patch` neighbours: one arm up to the centre, and one after it, so the centre counts once."""
        reach, length = self.patch // 2, values.shape[dim]
        arm = values.narrow(dim, 0, length - 1) + values.narrow(dim, 1, length - 1)
        if self.patch == 5:
            arm = values.narrow(dim, 0, length - 2) + arm.narrow(dim, 1, length - 2)
        if self.patch == 7:
            arm = arm.narrow(dim, 0, length - 3) + arm.narrow(dim, 2, length - 3)
        count = length - 2 * reach
        after = arm.narrow(dim, reach, count) - values.narrow(dim, reach, count)
        return arm.narrow(dim, 0, count) + after

    def onnx_model(self, opset: int) -> onnx.ModelProto:
        """Build the graph by hand: a captured graph would unroll the loops and fix their lengths."""
        return build_nlm_graph(patch=self.patch, opset=opset)
