"""NIMA: distribution of human ratings by MobileNet (Talebi & Milanfar, IEEE TIP 2018).

The weights are idealo's (image-quality-assessment): `technical` trained on TID2013, `aesthetic` on AVA. The official
file is Keras'; its batch norms are folded when it is read. One converted from TFLite holds the same network, rounded.
The image is resized to 224×224 by Pillow's NEAREST, as Keras' `load_img` does.

    p = softmax(MobileNetV1(2x − 1)),   score = Σ i · p_i,   i = 1..10
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from scoreguard.support.digests import sha256_of_file
from scoreguard_export.errors import WeightsError
from scoreguard_export.metrics.base import Metric, MetricFacts, RangeBasis, ScoreRange
from scoreguard_export.metrics.linear import RowLinear
from scoreguard_export.weights.checkpoints import advice, fill
from scoreguard_export.weights.keras_file import Layers, folded, is_hdf5, read_layers
from scoreguard_export.weights.source import CommercialUse, WeightsSource

SIDE = 224
_WIDTHS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
_REPOSITORY = "https://github.com/idealo/image-quality-assessment"
_FOLDER = f"{_REPOSITORY}/raw/003f8e2a46e654b3e4fb206f6afdd29c7886f70b/models/MobileNet"
_CONVERTED = "folded and dequantised from the TFLite model of MichaelLedger/image-quality-assessment-exercise"


def nearest_rows(like: Tensor, size: int) -> Tensor:
    """(224,) int64: the rows out of `size` that Pillow's NEAREST takes.

    Pillow walks from half a step in double precision, adding one step at a time, and drops the fraction. If the exact
    position is whole (multiples of 64), the accumulated rounding decides, so the same sum is computed here.
    """
    count = torch.arange(SIDE, dtype=torch.int64, device=like.device)
    step = torch.ones_like(count).to(torch.float64) * size / float(SIDE)
    steps = torch.where(count == 0, step * 0.5, step)
    return torch.cumsum(steps, dim=0).to(torch.int64)


def resized(image: Tensor) -> Tensor:
    """(N, 3, H, W) → (N, 3, 224, 224); the gradient reaches the pixels that are taken."""
    taken = image.index_select(2, nearest_rows(image, image.shape[2]))
    return taken.index_select(3, nearest_rows(image, image.shape[3]))


def _convolution(inputs: int, outputs: int, stride: int, groups: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1 if stride == 1 else 0, groups=groups)


class Nima(Metric):
    """Mean predicted rating in [1, 10], higher is better."""

    facts = MetricFacts(
        name="nima",
        title="NIMA technical (MobileNet)",
        paper="Talebi, Milanfar: NIMA: Neural Image Assessment. IEEE Transactions on Image Processing 27(8)",
        year=2018,
        score_range=ScoreRange(low=1.0, high=10.0),
        range_basis=RangeBasis.BOUNDS,
        backbone="MobileNet",
        input_rule="RGB, resized to 224x224 by Pillow's NEAREST",
        minimum_size=32,
        parity_tolerance=1e-3,
    )
    sources = MappingProxyType(
        {
            "nima": WeightsSource(
                licence="Apache-2.0",
                commercial=CommercialUse.YES,
                download=f"{_FOLDER}/weights_mobilenet_technical_0.11.hdf5",
                url=f"weights_mobilenet_technical_0.11.hdf5 of {_REPOSITORY}, or "
                f"nima_mobilenet_technical.pt, {_CONVERTED}",
                converted_sha256="6f37927fc8062eede0ade6ab12002270ef2ccf6032795d83a007f231d9634d7d",
            )
        }
    )

    ratings: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_convolution(3, _WIDTHS[0], 2, 1)]
        for inputs, outputs, stride in zip(_WIDTHS[:-1], _WIDTHS[1:], _STRIDES, strict=True):
            layers += [_convolution(inputs, inputs, stride, inputs), nn.Conv2d(inputs, outputs, 1)]
        self.features = nn.ModuleList(layers)
        self.classifier = RowLinear(_WIDTHS[-1], 10)
        self.pad = nn.ZeroPad2d((0, 1, 0, 1))  # TensorFlow's "same" for an even size and stride 2
        self.register_buffer("ratings", torch.arange(1.0, 11.0), persistent=False)
        self.strided = tuple(layer.stride == (2, 2) for layer in layers)

    def load(self, name: str, path: Path) -> str:
        """Take the official file of Keras, whose batch norms are folded, or the converted one.

        Raises:
            MissingExtraError: it is Keras', and h5py is not installed.
            WeightsError: the file is missing, unreadable, or of another network.
        """
        if not is_hdf5(path):
            return super().load(name, path)
        source = self.sources[name]
        try:
            state = _of_keras(read_layers(path, name, source))
        except (KeyError, RuntimeError) as error:
            what = f"is of another network than MobileNet with 10 outputs ({error})"
            raise WeightsError(f"{path} {what}: {advice(name, source)}") from error
        fill(self, state, path, name, source)
        return sha256_of_file(path)

    def distribution(self, image: Tensor) -> Tensor:
        """(N, 10) probabilities of the ratings 1..10."""
        features = resized(image) * 2.0 - 1.0
        for layer, strided in zip(self.features, self.strided, strict=True):
            features = layer(self.pad(features) if strided else features).clamp(0.0, 6.0)
        return torch.softmax(self.classifier(features.mean(dim=(2, 3))), dim=1)

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W) in [0, 1] of any size."""
        return (self.distribution(image) * self.ratings).sum(dim=1)


def _of_keras(layers: Layers) -> dict[str, Tensor]:
    """Convert the layers of Keras' MobileNet: a convolution, then pairs of a depthwise one and one of single pixels."""
    names = ["conv1", *(f"conv_{kind}_{pair}" for pair in range(1, len(_WIDTHS)) for kind in ("dw", "pw"))]
    state = {}
    for index, name in enumerate(names):
        state[f"features.{index}.weight"], state[f"features.{index}.bias"] = folded(layers, name, f"{name}_bn")
    # Keras numbers its dense layers in the order in which a program makes them.
    dense = next((arrays for arrays in layers.values() if "kernel" in arrays and arrays["kernel"].dim() == 2), {})
    state["classifier.weight"], state["classifier.bias"] = dense["kernel"].T.float(), dense["bias"].float()
    return state


class NimaAesthetic(Nima):
    """The same network with the weights that were trained on AVA."""

    facts = replace(Nima.facts, name="nima-aesthetic", title="NIMA aesthetic (MobileNet)")
    sources = MappingProxyType(
        {
            "nima-aesthetic": WeightsSource(
                licence="Apache-2.0",
                commercial=CommercialUse.YES,
                download=f"{_FOLDER}/weights_mobilenet_aesthetic_0.07.hdf5",
                url=f"weights_mobilenet_aesthetic_0.07.hdf5 of {_REPOSITORY}, or "
                f"nima_mobilenet_aesthetic.pt, {_CONVERTED}",
                converted_sha256="56e41df4111e4bf3760ec23f527653abaa33408833cbe14eb27373749f87c154",
            )
        }
    )
