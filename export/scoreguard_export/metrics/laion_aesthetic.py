"""LAION's aesthetic predictor: five linear layers on CLIP's embedding of an image (Schuhmann 2022).

The predictor was trained on ratings of 1 to 10, of photographs (AVA), logos and generated images. There is no
activation between its layers.

    score = W₅(W₄(W₃(W₂(W₁ f / ‖f‖))))      768 → 1024 → 128 → 64 → 16 → 1, with biases

f is the embedding of CLIP's ViT-L/14 of the image as CLIP reads it: the shorter side resized to 224 pixels by Pillow's
BICUBIC, and the square in the centre. There are two weights files, the predictor's and CLIP's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.metrics.base import Metric, MetricFacts, ScoreRange
from scoreguard_export.metrics.centre import bicubic_centre
from scoreguard_export.metrics.clip import DEVIATION, MEAN, clip_network, embedded, load_clip
from scoreguard_export.metrics.imagenet import normalised
from scoreguard_export.metrics.linear import RowLinear
from scoreguard_export.weights.checkpoints import load_checkpoint
from scoreguard_export.weights.source import CommercialUse, WeightsSource

CLIP = "clip-vit-l-14"
"""Name of the weights of CLIP."""


class _Predictor(nn.Module):
    """The linear layers under the official names; dropout takes the places between them."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(RowLinear(inputs, 1024), nn.Dropout(0.2), RowLinear(1024, 128), nn.Dropout(0.2)),
            *(RowLinear(128, 64), nn.Dropout(0.1), RowLinear(64, 16), RowLinear(16, 1)),
        )

    def forward(self, embedding: Tensor) -> Tensor:
        """(N, inputs) → (N, 1)."""
        score: Tensor = self.layers(embedding)
        return score


class LaionAesthetic(Metric):
    """Predicted aesthetic rating, 1 to 10; higher is better."""

    facts = MetricFacts(
        name="laion-aesthetic",
        title="LAION aesthetic predictor v2 (CLIP ViT-L/14)",
        paper="Schuhmann: Improved aesthetic predictor (github.com/christophschuhmann/improved-aesthetic-predictor)",
        year=2022,
        # The scale of the ratings. The output is unbounded.
        score_range=ScoreRange(low=1.0, high=10.0),
        backbone="CLIP with ViT-L/14",
        input_rule=(
            "RGB, the shorter side resized to 224 by Pillow's BICUBIC, the square in the centre; normalised as for CLIP"
        ),
        minimum_size=32,
        parity_tolerance=1e-3,
    )
    sources = MappingProxyType(
        {
            "laion-aesthetic": WeightsSource(
                licence="Apache-2.0",
                commercial=CommercialUse.YES,
                url=(
                    "sac+logos+ava1-l14-linearMSE.pth of "
                    "https://github.com/christophschuhmann/improved-aesthetic-predictor"
                ),
                sha256="21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
            ),
            CLIP: WeightsSource(
                licence="MIT",
                commercial=CommercialUse.YES,
                url=(
                    "a state_dict of OpenAI's ViT-L-14.pt of https://github.com/openai/CLIP (torch.jit.load(...)"
                    ".state_dict()), or open_clip's of ViT-L-14 by OpenAI"
                ),
            ),
        }
    )

    def __init__(self) -> None:
        super().__init__()
        network: Any = self.untrained()
        self.visual: Any = network.visual
        self.predictor = _Predictor(network.visual.proj.shape[1])

    def untrained(self) -> nn.Module:
        """Make both towers of CLIP, with the checkpoint's names and shapes.

        Raises:
            MissingExtraError: open_clip is not installed.
        """
        return clip_network("ViT-L-14", self.facts.name)

    @classmethod
    def at_hand(cls, files: Mapping[str, Path]) -> bool:
        """Return whether it can be built: both weights files are given."""
        return set(cls.sources) <= cls.available(files)

    def load(self, name: str, path: Path) -> str:
        """Take the predictor, or both towers of CLIP, of which the image tower is kept.

        Raises:
            WeightsError: the file is missing, is an archive of TorchScript, or holds other names or shapes.
        """
        if name != CLIP:
            return load_checkpoint(self.predictor, path, name, self.sources[name])
        loaded = load_clip(self.untrained(), path, name, self.sources[name])
        network: Any = loaded.network
        self.visual = network.visual
        return loaded.sha256

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W) in [0, 1] of any size."""
        side = self.visual.image_size[0]
        centre = normalised(bicubic_centre(image, side), MEAN, DEVIATION)
        scores: Tensor = self.predictor(functional.normalize(embedded(self.visual, centre), dim=1))
        return scores[:, 0]
