"""The public benchmark's own maps onto MDTVSFA, one small network for each of 16 metrics, evaluated in NumPy.

The benchmark (arXiv 2310.06958) learnt them by neural optimal transport (Korotin et al., arXiv 2201.12220): a network
of four layers reads a score, scaled to [0, 1] by the lowest and highest clean score, beside a normal number z. The mean
over 512 draws of z is the mapped score, on a scale where the reference's clean scores fill [0, 1]. `DomainTransform` is
the exact map; this one is for comparing with published numbers. docs/report.md has what is wrong with these maps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from scoreguard.score_range import ScoreRange
from scoreguard_client.scores.scaling import Values

REFERENCE: Final = "mdtvsfa"
"""The metric that all of them map onto."""
SPREAD: Final = 0.1
"""Standard deviation of z."""
DRAWS: Final = 512
"""Draws of z for each score."""
_SHAPES: Final = ((100, 2), (100, 100), (100, 100), (1, 100))
"""Shapes of the layers' weights: (outputs, inputs)."""

Weights = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class BenchmarkMap:
    """One of the 16 maps, from the scores of its metric to [0, 1], where 1 is the best quality.

    The z of a score are drawn from the seed and the score, so the map is a function: the benchmark draws afresh for
    every row, which gives two images with one score two mapped scores.
    """

    metric: str
    """The benchmark's name of the metric."""
    layers: tuple[tuple[Weights, Weights], ...]
    """Weights and biases of the four layers: (outputs, inputs) and (outputs,)."""
    factor: float
    """What a score is multiplied by first."""
    shift: float
    """What is added to that."""
    sha256: str = ""
    """SHA-256 of the file that it is from, hexadecimal."""
    seed: int = 0
    """Seed of z."""

    @classmethod
    def of(cls, metric: str, content: Mapping[str, Any], *, sha256: str = "") -> BenchmarkMap:
        """Make the map of a metric from its entry in the published file, with arrays for tensors.

        Raises:
            ValueError: the entry is not one of these networks.
        """
        try:
            state, scaler = content["state_dict"], content["X"]
            layers = tuple(
                (np.asarray(state[f"{2 * k}.weight"], np.float32), np.asarray(state[f"{2 * k}.bias"], np.float32))
                for k in range(len(_SHAPES))
            )
            factor, shift = float(scaler["scale_"]), float(scaler["min_"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"its entry {metric} has no network and scaler of the benchmark ({error!r:.80})"
            ) from error
        shapes = tuple((weight.shape, bias.shape) for weight, bias in layers)
        if shapes != tuple((shape, shape[:1]) for shape in _SHAPES):
            raise ValueError(f"the layers of its entry {metric} have other shapes than the benchmark's")
        numbers = np.concatenate([np.array([factor, shift]), *(part.ravel() for layer in layers for part in layer)])
        if not (np.isfinite(numbers).all() and factor > 0):
            raise ValueError(f"the numbers of its entry {metric} are not finite, or its scale is not positive")
        return cls(metric=metric, layers=layers, factor=factor, shift=shift, sha256=sha256)

    @property
    def range(self) -> ScoreRange:
        """Return the scale of mapped scores: MDTVSFA's lowest and highest clean score are 0 and 1."""
        return ScoreRange(low=0.0, high=1.0)

    @property
    def source_is_higher_better(self) -> bool:
        """Return true: the benchmark turns no score around before its maps, and they rise where clean scores are."""
        return True

    @property
    def reference_name(self) -> str:
        """Return the name of the metric that scores are mapped onto."""
        return REFERENCE

    @property
    def origin(self) -> str:
        """Return in a few words where the map is from."""
        return "as-benchmark: the published network"

    def facts(self) -> dict[str, Any]:
        """Return what a report says about the map, as JSON."""
        return {
            "source": {"metric": self.metric},
            "reference": {"metric": REFERENCE},
            "range": {"low": 0.0, "high": 1.0, "higher_is_better": True},
            "sha256": self.sha256,
            "seed": self.seed,
            "draws": DRAWS,
            "origin": self.origin,
        }

    def apply(self, scores: Values) -> Values:
        """Map scores of the metric, in its own units and direction: (N,), finite; NaN stays NaN."""
        values, places = np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True)
        return np.array([self.draws(value).mean() for value in values])[places.reshape(np.shape(scores))]

    def draws(self, score: float) -> Values:
        """Compute the map of one score for each draw of z: (DRAWS,)."""
        if np.isnan(score):
            return np.full(DRAWS, np.nan)
        # Zero has two signs, which are one score.
        bits = int(np.float64(score + 0.0).view(np.uint64))
        z = np.random.default_rng([self.seed, bits]).normal(0, SPREAD, DRAWS)
        return self.network(np.column_stack([np.full(DRAWS, score * self.factor + self.shift), z]))

    def network(self, inputs: Values) -> Values:
        """Evaluate the network: (N, 2) with scaled score and z, to (N,)."""
        flowing: Weights = inputs.astype(np.float32)
        for weight, bias in self.layers[:-1]:
            flowing = np.maximum(flowing @ weight.T + bias, 0)
        weight, bias = self.layers[-1]
        return np.asarray((flowing @ weight.T + bias)[:, 0], dtype=np.float64)
