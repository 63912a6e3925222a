"""SPAQ baseline: a ResNet-50 on patches of the whole photograph (Fang, Zhu, Zeng, Ma & Wang, CVPR 2020).

The baseline (BL) of the database SPAQ, trained on its MOS of 0 to 100. Its network reads patches in [0, 1], without
ImageNet's mean and deviation.

    x ← x with its shorter side at 512 pixels (Pillow's BILINEAR), if both sides have as many
    score = mean over patches of ResNet50(patch)     224×224, every 112 pixels, the last ones aligned to the border

The authors' code resizes 8-bit images, and fails on images with a side below 512; here those are read at native size.
The benchmark of adversarial robustness (MSU) leaves out the resize: the variant `as-benchmark`.
"""

from __future__ import annotations

from types import MappingProxyType

from torch import Tensor, nn

from scoreguard_export.metrics.backbones import backbone
from scoreguard_export.metrics.base import Metric, MetricFacts, ScoreRange
from scoreguard_export.metrics.linear import RowLinear
from scoreguard_export.metrics.patches import mean_of_each, patches_of
from scoreguard_export.metrics.resize import pillow_bilinear, with_shorter_side
from scoreguard_export.weights.source import CommercialUse, WeightsSource

SHORTER_SIDE = 512
PATCH = 224
STRIDE = 112


class Spaq(Metric):
    """Predicted MOS on the scale of SPAQ, 0 to 100; higher is better."""

    facts = MetricFacts(
        name="spaq",
        title="SPAQ baseline (ResNet-50)",
        paper="Fang, Zhu, Zeng, Ma, Wang: Perceptual Quality Assessment of Smartphone Photography. CVPR",
        year=2020,
        # The scale of the MOS that it was trained on. The network's output is unbounded; the benchmark of adversarial
        # robustness (MSU) publishes 21.7 to 77.8 on the images of NIPS 2017.
        score_range=ScoreRange(low=0.0, high=100.0),
        backbone="ResNet-50",
        input_rule=(
            "RGB, the shorter side reduced to 512 by Pillow's BILINEAR (as-benchmark: native size); 224x224 patches "
            "every 112 pixels"
        ),
        minimum_size=PATCH,
        parity_tolerance=1e-2,
        variants=("as-benchmark",),
    )
    sources = MappingProxyType(
        {
            "spaq": WeightsSource(
                licence="research use (educational and research purposes only, says the authors' code)",
                commercial=CommercialUse.NO,
                url="BL_release.pt, linked from https://github.com/h4nwei/SPAQ (Google Drive)",
            )
        }
    )

    def __init__(self, *, variant: str = "") -> None:
        super().__init__()
        self.resizes = variant != "as-benchmark"
        self.backbone = self.untrained()

    @classmethod
    def pattern_size(cls, least: int) -> tuple[int, int]:
        """Return a size that is resized: the sizes of the other comparisons are too small for that."""
        return SHORTER_SIDE + 13, SHORTER_SIDE + 33

    def untrained(self) -> nn.Module:
        """Make a network with the checkpoint's names and shapes.

        Raises:
            MissingExtraError: torchvision is not installed.
        """
        network = backbone("resnet50", self.facts.name)
        network.fc = RowLinear(2048, 1)
        return network

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W) in [0, 1], 224 pixels a side or more."""
        if self.resizes:
            height, width = with_shorter_side(image.shape[2], image.shape[3], SHORTER_SIDE)
            image = pillow_bilinear(image, height, width)
        return mean_of_each(self.backbone(patches_of(image, PATCH, STRIDE)), image)
