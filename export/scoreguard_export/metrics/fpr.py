"""FPR: the features that an image lost, guessed from what is left (Chen, Zhu, Kong, Zhu, Wang & Li, IEEE TIP 2022).

In training, an invertible network turns the features of a distorted image into those of its pristine original. For a
score without a reference only the branch below counts; the others are in the checkpoint, and are left out.

    fᵢ = V ∗ pool(g(U ∗ CNN(patchᵢ)))        64×64 patches side by side, RGB in [0, 1]; what is left at the border is
    yᵢ = b · (A fᵢ),   wᵢ = max(c · GRU(f₁ … fᵢ), 0) + 10⁻⁸                                               not read
    score = Σ wᵢ yᵢ / Σ wᵢ

It is trained on (5 − s) / 5 · 100 for the ratings s of 1 to 5 in KADID-10k, and on 0 for the originals: lower is
better.

The GRU reads the patches in order, so the score depends on it. The authors shuffle them for every score and keep 1024;
here all are read, column by column from top to bottom, which is their order before it is shuffled.

The benchmark of adversarial robustness (MSU) scores something else, the variant `as-benchmark`: it cuts each colour
into patches first, and takes three of them in a row, all red or green or blue but for the seams, as the three channels
of one patch. It also takes a higher score for the better one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.metrics.base import Metric, MetricFacts, RangeBasis, ScoreRange
from scoreguard_export.metrics.linear import RowLinear
from scoreguard_export.recurrent import gru
from scoreguard_export.weights.checkpoints import fill, read_checkpoint
from scoreguard_export.weights.source import CommercialUse, WeightsSource

PATCH = 64
_SLOPE = 0.2
_BENCHMARK = ScoreRange(low=47.225, high=77.047)
"""What the benchmark declares: its lowest and highest score on the images of NIPS 2017, higher taken for better."""


def _unused() -> Iterator[str]:
    """Name the tensors of the branches that training needs: of the reference, the invertible network, their scores."""
    layers = [f"fl{block}.conv{conv}.conv.0" for block in (1, 2, 3) for conv in (1, 2)]
    for block in range(3):
        layers += [f"InvRescaleNet.operations.{block}.{part}.conv{conv}" for part in "FGH" for conv in (1, 2, 3, 4)]
    for layer in (*layers, "cl1.conv.conv.0", "cl2", "rl1", "rl2", "gn", "wl2"):
        yield from (f"{layer}.weight", f"{layer}.bias")
    yield from (f"wl1.{kind}_{part}_l0" for kind in ("weight", "bias") for part in ("ih", "hh"))


UNUSED: Final = frozenset(_unused())
"""Names of the tensors in the official checkpoint that a score without a reference does not need."""


class _Convolution(nn.Module):
    """3×3 with a leaky ReLU, under the official names."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.LeakyReLU(_SLOPE))

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H, W)."""
        result: Tensor = self.conv(features)
        return result


class _Double(nn.Module):
    """Two of them, and the largest value of every 2×2 pixels if it pools."""

    def __init__(self, inputs: int, outputs: int, *, pools: bool) -> None:
        super().__init__()
        self.conv1, self.conv2 = _Convolution(inputs, outputs), _Convolution(outputs, outputs)
        self.pools = pools

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H, W), or half the height and width."""
        result: Tensor = self.conv2(self.conv1(features))
        return functional.max_pool2d(result, 2) if self.pools else result


class _Single(nn.Module):
    """One of them and the pooling."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = _Convolution(inputs, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H / 2, W / 2)."""
        return functional.max_pool2d(self.conv(features), 2)


@dataclass(frozen=True, kw_only=True)
class _Facts(MetricFacts):
    """The benchmark's way has another range, in the other direction."""

    def of_variant(self, variant: str) -> MetricFacts:
        """Return the facts of a variant."""
        return replace(
            super().of_variant(variant),
            score_range=_BENCHMARK,
            range_basis=RangeBasis.MEASURED,
            measured_on="NIPS 2017 (MSU)",
        )


class Fpr(Metric):
    """Predicted loss of quality on the scale of KADID-10k, 0 (none) to 80; lower is better."""

    facts = _Facts(
        name="fpr",
        title="FPR (no-reference branch)",
        paper=(
            "Chen, Zhu, Kong, Zhu, Wang, Li: No-Reference Image Quality Assessment by Hallucinating Pristine Features. "
            "IEEE Transactions on Image Processing 31"
        ),
        year=2022,
        # The scale of the training's targets: 0 for a rating of 5, 80 for 1. The network's output is unbounded.
        score_range=ScoreRange(low=0.0, high=80.0, higher_is_better=False),
        backbone="its own CNN, and a GRU over the patches",
        input_rule="RGB at native size; every full 64x64 patch, side by side from the top left",
        minimum_size=PATCH,
        parity_tolerance=1e-2,
        variants=("as-benchmark",),
    )
    sources = MappingProxyType(
        {
            "fpr": WeightsSource(
                licence="Apache-2.0",
                commercial=CommercialUse.YES,
                url="model_best_kadid_0.pkl, linked from https://github.com/Baoliang93/FPR (mega.nz)",
            )
        }
    )
    widths: ClassVar[tuple[int, int, int]] = (128, 256, 512)
    """Channels of the features at whole, half and quarter size."""

    def __init__(self, *, variant: str = "") -> None:
        super().__init__()
        self.mixes_colours = variant == "as-benchmark"
        low, middle, high = self.widths
        self.sfl1 = _Double(3, low, pools=True)
        self.sfl21 = _Double(low, middle, pools=False)
        self.sfl22 = _Double(middle, middle, pools=True)
        self.sfl23 = _Double(middle, middle, pools=False)
        self.sfl3 = _Double(middle, high, pools=True)
        self.scl1, self.scl2 = _Single(high, 128), nn.Conv2d(128, 64, 3)
        self.srl1, self.srl2 = RowLinear(256, 32), RowLinear(32, 1)
        self.swl1, self.swl2 = nn.GRU(256, 32, batch_first=True), RowLinear(32, 1)

    def load(self, name: str, path: Path) -> str:
        """Fill the module from the official checkpoint; the branches of training in it are left out.

        Raises:
            WeightsError: the file is missing, unreadable, or holds other names or shapes.
        """
        weights = read_checkpoint(path, name, self.sources[name])
        used = {key: value for key, value in weights.tensors.items() if key not in UNUSED}
        fill(self, used, path, name, self.sources[name])
        return weights.sha256

    def patches(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) → (N · P, 3, 64, 64), image by image, in the order in which the GRU reads them."""
        rows, columns = image.shape[2] // PATCH, image.shape[3] // PATCH
        inner = image[:, :, : rows * PATCH, : columns * PATCH]
        grid = inner.reshape(image.shape[0], 3, rows, PATCH, columns, PATCH)
        apart = grid.permute(0, 1, 2, 4, 3, 5) if self.mixes_colours else grid.permute(0, 4, 2, 1, 3, 5)
        return apart.reshape(-1, 3, PATCH, PATCH)

    def features(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) → (N, P, 256), of each patch."""
        maps = self.sfl22(self.sfl21(self.sfl1(self.patches(image))))
        maps = self.scl2(self.scl1(self.sfl3(self.sfl23(maps))))
        features: Tensor = maps.reshape(image.shape[0], -1, 256)
        return features

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W) in [0, 1], 64 pixels a side or more."""
        features = self.features(image)
        scores: Tensor = self.srl2(self.srl1(features.reshape(-1, 256))).reshape(image.shape[0], -1)
        states = gru(features, self.swl1).reshape(-1, 32)
        weights = torch.relu(self.swl2(states)).reshape(image.shape[0], -1) + 1e-8
        return (scores * weights).sum(dim=1) / weights.sum(dim=1)
