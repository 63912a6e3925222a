"""Golden vectors: an image in every archive, with the scores that a correct server gives for it.

The scores come from the eager modules, not from the exported graphs, so a canary that scores correctly also confirms
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

from scoreguard.v1.manifest_pb2 import DefenceFacts, GoldenScore, GoldenVector
from scoreguard.v1.spec import Step, format_chain
from scoreguard_export.archive.eager import EagerDefence
from scoreguard_export.metrics.base import Metric

IMAGE: Final = "golden/image.png"
_LEAST_SIDE: Final = 96
_SEED: Final = 20240410
_RELATIVE_TOLERANCE: Final = 2e-3
"""Share of the declared range. A rounding inside a defence may go the other way on another processor."""


@dataclass(frozen=True, kw_only=True)
class GoldenImage:
    """The canary: gradients, edges and texture, chosen so that every defence changes it."""

    png: bytes
    image: torch.Tensor
    """(1, 3, side, side) in [0, 1]: the values that the file decodes to."""


def golden_image(minimum_size: int = 1) -> GoldenImage:
    """Make the canary; always the same image for a metric's minimum size.

    Its side is 96 pixels, or twice the metric's minimum if that is more, since a defence may halve it.
    """
    values = _values(max(_LEAST_SIDE, 2 * minimum_size))
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    image = torch.from_numpy(values.astype(np.float32) / np.float32(255)).permute(2, 0, 1)[None].contiguous()
    return GoldenImage(png=buffer.getvalue(), image=image)


def is_golden_image(png: bytes, expected: GoldenImage) -> bool:
    """Return whether a file shows the canary; another version of Pillow may have compressed it differently."""
    try:
        with Image.open(io.BytesIO(png)) as image:
            values = np.asarray(image.convert("RGB"), np.float32) / np.float32(255)
    except Exception:  # a file of another type can fail in many ways
        return False
    return bool(np.array_equal(values, expected.image[0].permute(1, 2, 0).numpy()))


def golden_vectors(metric: Metric, defences: Sequence[EagerDefence], image: GoldenImage) -> list[GoldenVector]:
    """Return the canary's score undefended and behind each defence alone, at the default parameters if they fit it.

    A defence whose result is too small for the metric has no vector.
    """
    scores = [golden_score(metric, defence, image) for defence in (None, *defences)]
    return [score.vector for score in scores if score.HasField("vector")]


def golden_score(metric: Metric, defence: EagerDefence | None, golden: GoldenImage) -> GoldenScore:
    """Return the canary's score undefended or behind one defence; without a vector if the result is too small."""
    tolerance = metric.facts.parity_tolerance + _RELATIVE_TOLERANCE * metric.facts.score_range.width
    with torch.no_grad():
        text, image = _purified(defence, golden.image) if defence else ("", golden.image)
        if min(image.shape[2:]) < metric.facts.minimum_size:
            return GoldenScore()
        score = float(metric(image))
    return GoldenScore(vector=GoldenVector(image=IMAGE, defences=text, seed=_SEED, score=score, tolerance=tolerance))


def _purified(defence: EagerDefence, image: torch.Tensor) -> tuple[str, torch.Tensor]:
    """Return the step in its text form, and the purified canary."""
    parameters = _fitting(defence.artifact.facts, min(image.shape[2:]))
    step = Step(name=defence.name, parameters=tuple(parameters.items()))
    return format_chain([step]), defence.purify(image, _SEED, **parameters)


def _fitting(facts: DefenceFacts, side: int) -> dict[str, float]:
    """Return half the side for every length whose default is larger than the canary."""
    return {p.name: side // 2 for p in facts.parameters if p.at_most_side and p.default_value > side}


def _values(side: int) -> npt.NDArray[np.uint8]:
    rows, columns = np.mgrid[0:side, 0:side] / side
    waves = np.sin(40 * rows * columns) * 0.15
    disc = ((rows - 0.6) ** 2 + (columns - 0.4) ** 2 < 0.06) * 0.35
    noise = np.random.Generator(np.random.Philox(key=[_SEED, 0])).normal(0, 0.03, (side, side, 3))
    base = np.stack([0.3 + 0.5 * rows, 0.6 - 0.3 * columns, 0.4 + 0.2 * rows * columns], axis=2)
    image = base + (waves + disc)[..., None] * np.array([1.0, 0.7, -0.5]) + noise
    levels: npt.NDArray[np.uint8] = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return levels
