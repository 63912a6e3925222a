"""Unsharp masking as a purification: y = x + a·(x − Gaussian(x)), after a separate Gaussian blur.

The blur removes a perturbation's high frequencies; the mask restores the edges that the blur weakened.
"""

from __future__ import annotations

from torch import Tensor

from scoreguard_export.defences.base import Defence, DefenceFacts, Differentiability, Parameter, switch
from scoreguard_export.defences.blur import Blur
from scoreguard_export.defences.bounds import within_range


class Unsharp(Defence):
    """Blur, then sharpen, with one Gaussian for both; or sharpen only.

    The study that introduced it blurs first (`blur_first=1`), but does not publish the parameters; those here are its
    blur's kernel and the sigma and amount of the later benchmark. That benchmark's "unsharp" sharpens only
    (`blur_first=0`), which amplifies a perturbation instead of removing it. Borders and σ = 0 are those of `blur`.
    """

    facts = DefenceFacts(
        name="unsharp",
        title="Blur and unsharp mask",
        paper="Gushchin et al.: Adversarial purification for no-reference image-quality metrics (arXiv 2404.06957)",
        year=2024,
        parameters=(
            Parameter(
                name="kernel",
                description="Taps of the Gaussian in each direction, in pixels.",
                default=3.0,
                minimum=3.0,
                maximum=7.0,
                integer=True,
                choices=(3.0, 5.0, 7.0),
                at_most_side=True,
            ),
            switch("blur_first", "1 to blur before sharpening, 0 to sharpen only.", default=True),
            Parameter(
                name="sigma",
                description="Standard deviation in pixels; 0 takes 0.3·((kernel−1)/2 − 1) + 0.8.",
                default=1.0,
                minimum=0.0,
                maximum=10.0,
            ),
            Parameter(
                name="amount",
                description="Factor on the detail that is added; 0 adds none.",
                default=1.0,
                minimum=0.0,
                maximum=5.0,
            ),
        ),
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=4,
        parity_tolerance=5e-5,
    )

    def __init__(self, *, kernel: float = 3.0, blur_first: float = 1.0) -> None:
        super().__init__(kernel=kernel, blur_first=blur_first)
        self.blur = Blur(kernel=kernel)
        self.blur_first = bool(blur_first)

    def forward(self, image: Tensor, sigma: Tensor, amount: Tensor) -> Tensor:
        """Sharpen images (N, 3, H, W).

        Args:
            image: In [0, 1].
            sigma: 0-d, in pixels; 0 selects the rule.
            amount: 0-d, 0 to 5.
        """
        start = self.blur(image, sigma) if self.blur_first else image
        factor = amount.to(image.dtype)
        # Two products and a difference: one pass over the image fewer than x + a·(x − blurred).
        return within_range((1.0 + factor) * start - factor * self.blur.blurred(start, sigma))
