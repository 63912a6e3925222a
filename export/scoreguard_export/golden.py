"""Golden vectors: a picture in every archive, with the scores that a right server gives for it.

The scores come from the eager modules, not from the exported graphs, so a canary that scores right has also confirmed
the export.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from scoreguard.v1.manifest_pb2 import GoldenVector
from scoreguard.v1.randomness import draw
from scoreguard_export.defences.base import Defence
from scoreguard_export.facts import defence_message
from scoreguard_export.metrics.base import Metric

PICTURE: Final = "golden/picture.png"
_SIDE: Final = 96
_SEED: Final = 20240410
_RELATIVE_TOLERANCE: Final = 2e-3
"""Of the declared range. A rounding inside a defence may fall to the other side on another processor."""


@dataclass(frozen=True, kw_only=True)
class GoldenPicture:
    """The canary: gradients, edges and texture, so that every defence changes it."""

    png: bytes
    image: torch.Tensor
    """(1, 3, 96, 96) in [0, 1]: the values that the file decodes to."""


def golden_picture() -> GoldenPicture:
    """Make the canary; always the same picture."""
    values = _values()
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    image = torch.from_numpy(values.astype(np.float32) / np.float32(255)).permute(2, 0, 1)[None].contiguous()
    return GoldenPicture(png=buffer.getvalue(), image=image)


def golden_vectors(metric: Metric, defences: Sequence[Defence], picture: GoldenPicture) -> list[GoldenVector]:
    """The canary's score undefended and behind each defence alone, at the default parameters."""
    tolerance = metric.facts.parity_tolerance + _RELATIVE_TOLERANCE * metric.facts.score_range.width
    with torch.no_grad():
        scores = {"": metric(picture.image)}
        scores.update({d.facts.name: metric(_purified(d, picture.image)) for d in defences})
    return [
        GoldenVector(image=PICTURE, defences=name, seed=_SEED, score=float(score), tolerance=tolerance)
        for name, score in scores.items()
    ]


def _purified(defence: Defence, image: torch.Tensor) -> torch.Tensor:
    values = [torch.tensor(p.default, dtype=torch.float32) for p in defence.facts.graph_parameters]
    message = defence_message(defence.facts)
    randoms = [torch.from_numpy(r) for r in draw(message.random_inputs, tuple(image.shape), [_SEED], 0)]
    purified: torch.Tensor = defence(image, *values, *randoms)
    return purified


def _values() -> npt.NDArray[np.uint8]:
    rows, columns = np.mgrid[0:_SIDE, 0:_SIDE] / _SIDE
    waves = np.sin(40 * rows * columns) * 0.15
    disc = ((rows - 0.6) ** 2 + (columns - 0.4) ** 2 < 0.06) * 0.35
    noise = np.random.Generator(np.random.Philox(key=[_SEED, 0])).normal(0, 0.03, (_SIDE, _SIDE, 3))
    base = np.stack([0.3 + 0.5 * rows, 0.6 - 0.3 * columns, 0.4 + 0.2 * rows * columns], axis=2)
    picture = base + (waves + disc)[..., None] * np.array([1.0, 0.7, -0.5]) + noise
    levels: npt.NDArray[np.uint8] = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return levels
