"""DB-CNN: products of the features of two networks (Zhang, Ma, Yan, Deng & Wang, IEEE TCSVT 2020).

One network knows synthetic distortions, which it learned to tell apart with their level; the other is a VGG-16 trained
on ImageNet. Their features are multiplied channel by channel and averaged over the image.

    P = ⟨VGG16(x) S-CNN(x)ᵀ⟩ over space,   score = W · √(P + 10⁻⁸) / ‖√(P + 10⁻⁸)‖ + b

This is the authors' PyTorch code, at native size and normalised as for ImageNet. Both networks divide the size by 16,
VGG rounding down and the S-CNN up; the maps of the S-CNN are resized to the others (bilinear, corners aligned).
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.metrics.backbones import backbone
from scoreguard_export.metrics.base import Metric, MetricFacts, ScoreRange
from scoreguard_export.metrics.imagenet import normalised
from scoreguard_export.metrics.linear import RowLinear
from scoreguard_export.weights.checkpoints import fill, read_checkpoint
from scoreguard_export.weights.source import CommercialUse, WeightsSource

_WIDTHS = (3, 48, 48, 64, 64, 64, 64, 128, 128, 128)
_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 2)
_COUNTER = ".num_batches_tracked"
"""End of the names of what counts batches in training; files of old versions of PyTorch lack it."""


def synthetic_features() -> nn.Sequential:
    """Make the features of the S-CNN, under the official names: nine times convolution, batch norm and ReLU."""
    layers: list[nn.Module] = []
    for inputs, outputs, stride in zip(_WIDTHS[:-1], _WIDTHS[1:], _STRIDES, strict=True):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


def aligned(features: Tensor, dim: int, target: int) -> Tensor:
    """Resize height (2) or width (3) of maps, bilinear with aligned corners; the same length changes nothing.

    The last place is at the last value, and a single one at the first.
    """
    length = features.shape[dim]
    places = torch.arange(target, dtype=torch.float64, device=features.device)
    steps = (torch.ones_like(places) * (target - 1)).clamp(min=1.0)
    position = places * (length - 1) / steps
    first = position.to(torch.int64)
    second = (first + 1).clamp(max=length - 1)
    share = (position - first).to(features.dtype)
    if dim == 2:
        share = share[:, None]
    return features.index_select(dim, first) * (1.0 - share) + features.index_select(dim, second) * share


class DbCnn(Metric):
    """Predicted MOS on the scale of the ratings that it was trained on, 0 to 100; higher is better."""

    facts = MetricFacts(
        name="dbcnn",
        title="DB-CNN (VGG-16 and S-CNN)",
        paper=(
            "Zhang, Ma, Yan, Deng, Wang: Blind Image Quality Assessment Using a Deep Bilinear Convolutional Neural "
            "Network. IEEE Transactions on Circuits and Systems for Video Technology 30(1)"
        ),
        year=2020,
        # The scale of the ratings in the LIVE Challenge and in KonIQ-10k. The output is unbounded; the benchmark of
        # adversarial robustness (MSU) publishes 26.7 to 83.6 on the images of NIPS 2017.
        score_range=ScoreRange(low=0.0, high=100.0),
        backbone="VGG-16 and S-CNN",
        input_rule="RGB at native size, normalised as for ImageNet",
        minimum_size=32,
        parity_tolerance=1e-3,
    )
    sources = MappingProxyType(
        {
            "dbcnn": WeightsSource(
                licence="none stated for trained networks; MIT for the code that trains them",
                commercial=CommercialUse.NOT_STATED,
                url=(
                    "net_params_best.pkl, trained on LIVE Challenge or KonIQ-10k by "
                    "https://github.com/zwx8981/DBCNN-PyTorch, which publishes the S-CNN alone"
                ),
            )
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self.features1 = self.untrained()
        self.features2 = synthetic_features()
        self.fc = RowLinear(512 * 128, 1)

    def untrained(self) -> nn.Sequential:
        """Make the convolutions of VGG-16 without the last pooling.

        Raises:
            MissingExtraError: torchvision is not installed.
        """
        features = backbone("vgg16", self.facts.name).get_submodule("features")
        return nn.Sequential(*list(features.children())[:-1])

    def load(self, name: str, path: Path) -> str:
        """Fill the module; counters of batches may be missing.

        Raises:
            WeightsError: the file is missing, unreadable, or holds other names or shapes.
        """
        weights = read_checkpoint(path, name, self.sources[name])
        counters = {key: value for key, value in self.state_dict().items() if key.endswith(_COUNTER)}
        fill(self, counters | weights.tensors, path, name, self.sources[name])
        return weights.sha256

    def products(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) → (N, 512, 128), means over space of the products of both networks' features."""
        values = normalised(image)
        photographic: Tensor = self.features1(values)
        synthetic: Tensor = self.features2(values)
        height, width = photographic.shape[2], photographic.shape[3]
        synthetic = aligned(aligned(synthetic, 2, height), 3, width)
        return torch.bmm(photographic.flatten(2), synthetic.flatten(2).transpose(1, 2)) / (height * width)

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W) in [0, 1], 32 pixels a side or more."""
        roots = torch.sqrt(self.products(image).flatten(1) + 1e-8)
        scores: Tensor = self.fc(functional.normalize(roots))
        return scores[:, 0]
