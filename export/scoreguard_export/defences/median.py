"""Median filter as a purification: each value becomes the median of the k × k values around it, channel by channel.

Tukey, "Exploratory Data Analysis", 1977; against adversarial images in Xu, Evans and Qi, NDSS 2018.
"""

from __future__ import annotations

import onnx
import torch
from torch import Tensor
from torch.nn import functional

from scoreguard_export.defences.base import Defence, DefenceFacts, Differentiability, Parameter
from scoreguard_export.defences.median_graph import build_median_graph
from scoreguard_export.defences.median_network import Step, median_network, sorting_network


def _exchange(slots: list[Tensor], steps: list[Step]) -> None:
    for low, high, smaller, larger in steps:
        first, second = slots[low], slots[high]
        if smaller:
            slots[low] = torch.minimum(first, second)
        if larger:
            slots[high] = torch.maximum(first, second)
        # Free the memory of a value that is no longer needed.
        if not larger:
            slots[high] = slots[low]
        if not smaller:
            slots[low] = slots[high]


class Median(Defence):
    """Replace each value by the median of a square window.

    Borders repeat the edge pixels, as OpenCV's `medianBlur` does (the public benchmark mirrors them). The window has an
    odd number of values, so the "lower median" of other code is the same number. OpenCV filters 8-bit values, and
    floats only up to 5 × 5; here a network of minima and maxima filters any float.

    Gradient: one of a median's sub-gradients. It goes to the chosen value, and is shared if several are equal.
    """

    facts = DefenceFacts(
        name="median",
        title="Median filter",
        paper="Gushchin et al.: Adversarial purification for no-reference image-quality metrics (arXiv 2404.06957)",
        year=2024,
        parameters=(
            Parameter(
                name="kernel",
                description="Height and width of the window, in pixels.",
                default=3.0,
                minimum=3.0,
                maximum=7.0,
                integer=True,
                choices=(3.0, 5.0, 7.0),
                at_most_side=True,
            ),
        ),
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=3,
        parity_tolerance=0.0,
    )

    def __init__(self, *, kernel: float = 3.0) -> None:
        super().__init__(kernel=kernel)
        self.kernel = int(kernel)
        self.column_steps = [(low, high, True, True) for low, high in sorting_network(self.kernel)]
        self.window_steps, self.middle = median_network(self.kernel)

    def forward(self, image: Tensor) -> Tensor:
        """Filter images (N, 3, H, W)."""
        reach = self.kernel // 2
        padded = functional.pad(image, [reach, reach, reach, reach], mode="replicate")
        # One channel at a time: the window of all three would take three times the memory.
        return torch.stack([self._filtered(padded[:, channel]) for channel in range(3)], dim=1)

    def _filtered(self, padded: Tensor) -> Tensor:
        height, width = padded.shape[1] - self.kernel + 1, padded.shape[2] - self.kernel + 1
        ranks = [padded[:, tap : tap + height] for tap in range(self.kernel)]
        _exchange(ranks, self.column_steps)
        window = [rank[:, :, tap : tap + width] for rank in ranks for tap in range(self.kernel)]
        _exchange(window, self.window_steps)
        return window[self.middle]

    def onnx_model(self, opset: int) -> onnx.ModelProto:
        """Build the graph by hand: a captured graph would repeat the network for each channel."""
        return build_median_graph(self.kernel, self.column_steps, self.window_steps, self.middle, opset)
