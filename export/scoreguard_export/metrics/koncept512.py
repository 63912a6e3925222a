"""KonCept512: an InceptionResNet-v2 with three hidden layers behind it (Hosu, Lin, Sziranyi & Saupe, IEEE TIP 2020).

The published checkpoint for PyTorch is of a port (koniq-PyTorch), whose network was trained on the images of KonIQ-10k
at 384×512 (height × width). It ends in an average pool of 8×8 cells without padding, and the last map has 10×14 cells:
only the 8×8 cells at the top left are averaged, 46 % of them, in training as here. Keras' network of the paper averages
all 140, with weights of its own, which are not loaded here.

    z = mean of the top left 8×8 cells of InceptionResNet-v2(2x − 1),   score = MLP(z), 1536 → 2048 → 1024 → 256 → 1

The port reads images that have that size, and resizes none; here others are resized by Pillow's BILINEAR. The benchmark
of adversarial robustness (MSU) swaps the sides, 512×384, and interpolates between two pixels in each direction without
smoothing first, as its version of torchvision (0.14) resizes tensors: the variant `as-benchmark`. Of the 14×10 cells
the pool again keeps the 8×8 at the top left.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from torch import Tensor, nn

from scoreguard_export.metrics.base import Metric, MetricFacts, ScoreRange
from scoreguard_export.metrics.imagenet import HALVES, normalised
from scoreguard_export.metrics.linear import RowLinear
from scoreguard_export.metrics.resize import pillow_bilinear, two_tap_bilinear
from scoreguard_export.metrics.timm_models import timm_model
from scoreguard_export.weights.source import CommercialUse, WeightsSource

SHORT, LONG = 384, 512
POOLED = 8
"""Side of the square of cells that are averaged."""
_PARTS: Final = 15
"""Parts of the network before its pooling."""


def _layer(inputs: int, outputs: int, dropped: float) -> tuple[nn.Module, ...]:
    return RowLinear(inputs, outputs), nn.ReLU(), nn.BatchNorm1d(outputs), nn.Dropout(dropped)


class Koncept512(Metric):
    """Predicted MOS on the scale of KonIQ-10k, 0 to 100; higher is better."""

    facts = MetricFacts(
        name="koncept512",
        title="KonCept512 (InceptionResNet-v2)",
        paper=(
            "Hosu, Lin, Sziranyi, Saupe: KonIQ-10k: An Ecologically Valid Database for Deep Learning of Blind Image "
            "Quality Assessment. IEEE Transactions on Image Processing 29"
        ),
        year=2020,
        # The scale of the MOS that it was trained on. The network's output is unbounded; the benchmark of adversarial
        # robustness (MSU) publishes 26.4 to 66.9 on the images of NIPS 2017.
        score_range=ScoreRange(low=0.0, high=100.0),
        backbone="InceptionResNet-v2",
        input_rule=(
            "RGB, resized to 384x512 (height x width) by Pillow's BILINEAR (as-benchmark: to 512x384 without "
            "smoothing); of the last map the 8x8 cells at the top left"
        ),
        minimum_size=32,
        parity_tolerance=1e-2,
        variants=("as-benchmark",),
    )
    sources = MappingProxyType(
        {
            "koncept512": WeightsSource(
                licence="none stated by the publisher: research use",
                commercial=CommercialUse.NOT_STATED,
                url="KonCept512.pth, linked from https://github.com/ZhengyuZhao/koniq-PyTorch (SURFdrive)",
            )
        }
    )

    def __init__(self, *, variant: str = "") -> None:
        super().__init__()
        self.swaps = variant == "as-benchmark"
        self.base = nn.Sequential(*self.untrained(), nn.AvgPool2d(POOLED))
        self.fc = nn.Sequential(
            *(*_layer(1536, 2048, 0.25), *_layer(2048, 1024, 0.25), *_layer(1024, 256, 0.5)), RowLinear(256, 1)
        )

    def untrained(self) -> list[nn.Module]:
        """Make the parts of a network, with the checkpoint's names and shapes inside them.

        Raises:
            MissingExtraError: timm is not installed.
        """
        return list(timm_model("inception_resnet_v2", self.facts.name).children())[:_PARTS]

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W) in [0, 1] of any size."""
        image = two_tap_bilinear(image, LONG, SHORT) if self.swaps else pillow_bilinear(image, SHORT, LONG)
        pooled = self.base(normalised(image, HALVES, HALVES)).flatten(1)
        scores: Tensor = self.fc(pooled)
        return scores[:, 0]
