"""Non-local means as a purification: each pixel becomes a mean of the pixels whose surroundings look like its own.

Buades, Coll and Morel, "A non-local algorithm for image denoising", CVPR 2005, in the pixelwise form of the same
authors' "Non-Local Means Denoising", Image Processing On Line 1, 2011, with σ = 0:

    y(p) = Σ w(p, q)·x(q) / Σ w(p, q),   w = exp(−D(p, q)/h²),

over the q of a square around p; D is the mean squared difference of the patches around p and q, over all channels.
"""

from __future__ import annotations

import onnx
import torch
from torch import Tensor
from torch.nn import functional

from scoreguard_export.defences.base import Defence, DefenceFacts, Differentiability, Parameter
from scoreguard_export.defences.nlm_graph import build_nlm_graph
from scoreguard_export.defences.straight_through import straight_through


class NonLocalMeans(Defence):
    """Average what looks alike, as OpenCV's `fastNlMeansDenoising` does on 8-bit pictures with its default norm.

    Borders mirror about the edge pixel's centre (reflect-101), far enough for the widest search. OpenCV searches 21
    pixels by default; here it is 11, which takes about a quarter of the time. The search is an input, and the loop
    over its offsets stays a loop in both graphs. A gradient keeps several pictures for each offset in memory.
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
        super().__init__(patch=patch)
        self.patch = int(patch)
        self.widest = int(self.facts.parameters[2].maximum) // 2

    def forward(self, image: Tensor, strength: Tensor, search: Tensor) -> Tensor:
        """Denoise pictures (N, 3, H, W).

        Args:
            image: In [0, 1].
            strength: 0-d, 0.005 to 1.
            search: 0-d, in pixels, 3 to 21.
        """
        size = [image.shape[2], image.shape[3]]
        border = self.patch // 2
        margin = self.widest + border
        padded = functional.pad(image, [margin, margin, margin, margin], mode="reflect")
        falloff = -1.0 / torch.square(strength.to(image.dtype))
        reach = int(torch.floor(search * 0.5).item())
        own = self._moved(padded, size, 0, 0)
        total, weights = torch.zeros_like(image), torch.zeros_like(image[:, :1])
        for down in range(-reach, reach + 1):
            for right in range(-reach, reach + 1):
                near = self._moved(padded, size, down, right)
                unlike = torch.square(near - own).mean(dim=1, keepdim=True)
                tall = functional.avg_pool2d(unlike, [self.patch, 1], [1, 1])
                weight = torch.exp(functional.avg_pool2d(tall, [1, self.patch], [1, 1]) * falloff)
                total = total + weight * near[:, :, border : border + size[0], border : border + size[1]]
                weights = weights + weight
        mean = total / weights
        # A weighted mean leaves the range by rounding only.
        return straight_through(mean, torch.clamp(mean, 0.0, 1.0))

    def _moved(self, padded: Tensor, size: list[int], down: int, right: int) -> Tensor:
        """Cut the picture out at an offset, with half a patch around it."""
        top, left, more = self.widest + down, self.widest + right, self.patch - 1
        return padded[:, :, top : top + size[0] + more, left : left + size[1] + more]

    def onnx_model(self, opset: int) -> onnx.ModelProto:
        """Build the graph by hand: a capture would unroll the loop, and fix its length."""
        return build_nlm_graph(patch=self.patch, widest=self.widest, opset=opset)
