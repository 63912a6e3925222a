"""Down- and upscaling as a purification: the image of `resize`, enlarged to the original size.

Source of the parameters: the public code of Gushchin et al., 2024 (half the size, bilinear; then `nn.Upsample`).
"""

from __future__ import annotations

import onnx
import torch
from torch import Tensor
from torch.nn import functional

from scoreguard_export.defences.base import Defence, DefenceFacts, Differentiability, Parameter, switch
from scoreguard_export.defences.bounds import within_range
from scoreguard_export.defences.resize import Resize
from scoreguard_export.defences.upscale_graph import build_upscale_graph

NEAREST, BILINEAR, BICUBIC = 0.0, 1.0, 3.0
"""Values of `mode`: the degree of the polynomial between two pixels."""


def _repeated(small: Tensor, height: int, width: int) -> Tensor:
    """Take pixel ⌊i·small/large⌋ for i, in integers: dividing floats, engines disagree when it is whole."""
    rows = torch.arange(height, device=small.device) * small.shape[2] // height
    columns = torch.arange(width, device=small.device) * small.shape[3] // width
    return small.index_select(2, rows).index_select(3, columns)


class Upscale(Defence):
    """Shrink images bilinearly, and enlarge them to their original size.

    `upscale:mode=bilinear` is `resize:restore=1`; the other modes enlarge by the nearest pixel, or by cubic convolution
    (a = −3/4, as in OpenCV and torch). The size always comes from the image; the public code enlarges everything to
    299 × 299, or to 384 × 512. `antialias` is that of `resize` and applies only to the reduction.
    """

    facts = DefenceFacts(
        name="upscale",
        title="Down- and upscaling",
        paper="Gushchin et al.: Adversarial purification for no-reference image-quality metrics (arXiv 2404.06957)",
        year=2024,
        parameters=(
            Parameter(
                name="scale",
                description="Factor on height and width on the way down.",
                default=0.5,
                minimum=0.1,
                maximum=1.0,
            ),
            Parameter(
                name="mode",
                description="How to enlarge: by the nearest pixel, bilinear or bicubic interpolation.",
                default=BILINEAR,
                minimum=NEAREST,
                maximum=BICUBIC,
                integer=True,
                choices=(NEAREST, BILINEAR, BICUBIC),
                choice_names=("nearest", "bilinear", "bicubic"),
            ),
            switch("antialias", "1 to widen the filter with the reduction, 0 to keep two taps.", default=True),
        ),
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=2,
        parity_tolerance=1e-4,
    )

    def __init__(self, *, mode: float = BILINEAR, antialias: float = 1.0) -> None:
        super().__init__(mode=mode, antialias=antialias)
        self.degree = int(mode)
        self.down = Resize(antialias=antialias)

    def forward(self, image: Tensor, scale: Tensor) -> Tensor:
        """Shrink and enlarge images (N, 3, H, W).

        Args:
            image: In [0, 1].
            scale: 0-d, 0.1 to 1.
        """
        height, width = image.shape[2], image.shape[3]
        small = self.down(image, scale)
        if self.degree == 0:
            return _repeated(small, height, width)
        mode = "bilinear" if self.degree == 1 else "bicubic"
        large = functional.interpolate(small, size=[height, width], mode=mode, align_corners=False, antialias=False)
        return within_range(large)

    def onnx_model(self, opset: int) -> onnx.ModelProto:
        """Build the graph by hand, for the same reason as `Resize.onnx_model`."""
        return build_upscale_graph(degree=self.degree, antialias=self.down.antialias, opset=opset)
