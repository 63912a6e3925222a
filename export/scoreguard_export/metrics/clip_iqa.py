"""CLIP-IQA: how much nearer an image is to "Good photo." than to "Bad photo." (Wang, Chan & Loy, AAAI 2023).

The image tower is CLIP's ResNet-50, without the positional embedding of its pooling, so it reads images of any size.
The two texts are embedded once, when the weights are loaded; the text tower is no part of the graph.

    score = softmax(s · [cos(f, g), cos(f, b)])₁,   f = tower(x), g, b = embeddings of the texts,   s = 100

`s` is the exponential of the checkpoint's `logit_scale`. The variant `as-five-pairs` is the mean over the five pairs of
texts that pyiqa's `clipiqa` takes instead. Images are scored at native size.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.metrics.attention import attended_by_one, heads_of
from scoreguard_export.metrics.base import Metric, MetricFacts, RangeBasis, ScoreRange
from scoreguard_export.metrics.clip import DEVIATION, MEAN, clip_network, load_clip, text_features
from scoreguard_export.metrics.imagenet import normalised
from scoreguard_export.metrics.linear import row_products
from scoreguard_export.weights.source import CommercialUse, WeightsSource

PAIR: Final = (("Good photo.", "Bad photo."),)
FIVE_PAIRS: Final = (
    ("Good image", "bad image"),
    ("Sharp image", "blurry image"),
    ("sharp edges", "blurry edges"),
    ("High resolution image", "low resolution image"),
    ("Noise-free image", "noisy image"),
)


def pooled(layer: Any, features: Tensor) -> Tensor:
    """(N, C, H, W) → (N, D): open_clip's attention pooling by the mean cell, without its positional embedding."""
    cells = features.flatten(2).transpose(1, 2)
    mean = cells.mean(dim=1)
    tokens = torch.cat([mean[:, None], cells], dim=1)
    key = functional.linear(tokens, layer.k_proj.weight, layer.k_proj.bias)
    value = functional.linear(tokens, layer.v_proj.weight, layer.v_proj.bias)
    query = row_products(mean, layer.q_proj.weight) + layer.q_proj.bias
    heads = [heads_of(part, layer.num_heads) for part in (query[:, None], key, value)]
    embedding: Tensor = row_products(attended_by_one(*heads), layer.c_proj.weight) + layer.c_proj.bias
    return embedding


class ClipIqa(Metric):
    """Probability of the good text in (0, 1), higher is better."""

    facts = MetricFacts(
        name="clip-iqa",
        title="CLIP-IQA (ResNet-50)",
        paper="Wang, Chan, Loy: Exploring CLIP for Assessing the Look and Feel of Images. AAAI",
        year=2023,
        # What the softmax allows. The benchmark of adversarial robustness (MSU) publishes 0.021 to 0.983 on the images
        # of NIPS 2017.
        score_range=ScoreRange(low=0.0, high=1.0),
        backbone="CLIP with ResNet-50",
        range_basis=RangeBasis.BOUNDS,
        input_rule="RGB at native size, normalised as for CLIP",
        minimum_size=32,
        parity_tolerance=1e-4,
        variants=("as-five-pairs",),
    )
    sources = MappingProxyType(
        {
            "clip-iqa": WeightsSource(
                licence="MIT",
                commercial=CommercialUse.YES,
                url=(
                    "a state_dict of OpenAI's RN50.pt of https://github.com/openai/CLIP (torch.jit.load(...)"
                    ".state_dict()), or open_clip's of RN50 by OpenAI"
                ),
            )
        }
    )

    direction: Tensor

    def __init__(self, *, variant: str = "") -> None:
        super().__init__()
        self.pairs = FIVE_PAIRS if variant == "as-five-pairs" else PAIR
        network: Any = self.untrained()
        self.visual: Any = network.visual
        # From the bad to the good text of each pair, times the temperature.
        self.register_buffer("direction", torch.zeros(len(self.pairs), network.text_projection.shape[1]))

    def untrained(self) -> nn.Module:
        """Make both towers, with the checkpoint's names and shapes.

        Raises:
            MissingExtraError: open_clip is not installed.
        """
        return clip_network("RN50", self.facts.name)

    def load(self, name: str, path: Path) -> str:
        """Take both towers: the image tower is kept, and of the text tower the embeddings of the texts.

        Raises:
            WeightsError: the file is missing, is an archive of TorchScript, or holds other names or shapes.
        """
        loaded = load_clip(self.untrained(), path, name, self.sources[name])
        network: Any = loaded.network
        self.visual = network.visual
        texts = [text for pair in self.pairs for text in pair]
        embeddings = text_features(network, texts, self.facts.name)
        self.direction = (embeddings[::2] - embeddings[1::2]) * network.logit_scale.detach().exp()
        return loaded.sha256

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W) in [0, 1], 32 pixels a side or more."""
        tower = self.visual
        features = tower.stem(normalised(image, MEAN, DEVIATION))
        features = tower.layer4(tower.layer3(tower.layer2(tower.layer1(features))))
        embedding = functional.normalize(pooled(tower.attnpool, features), dim=1)
        return torch.sigmoid(row_products(embedding, self.direction)).mean(dim=1)
