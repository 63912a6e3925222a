"""Base of the trainings: a perturbation that is shown to the metric, updated by gradients, and saved.

The objective to raise is J = mean over images of Q(x + u) / span; Q is the score with the sign that makes it rise with
quality (or fall, if the perturbation is to lower it), and span the width of the metric's declared range.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from scoreguard_client.oracles.arrays import Put, unchanged
from scoreguard_client.oracles.base import Gradients
from scoreguard_client.perturbations.recipe import Recipe
from scoreguard_client.perturbations.tiling import Perturbation

State = dict[str, npt.NDArray[Any]]
"""All that a training needs to resume, by name."""
BENCHMARK_START: Final = 1e-4
"""The value from which the benchmark starts every pixel of a perturbation."""


class Learner(ABC):
    """A training in progress. Gradients, and all that it keeps from step to step, are arrays of one device."""

    shows_beyond: ClassVar[bool] = False
    """Whether the benchmark's code passes images that are not cut to [0, 1] to the metric."""

    augments: ClassVar[bool] = False
    """Whether each step sees random windows and flips of its images instead of their centres."""

    def __init__(self, recipe: Recipe, put: Put = unchanged) -> None:
        self.recipe = recipe
        """The recipe of the perturbation."""
        self.put = put
        """Copies an array to where gradients are computed; the perturbation is learned there too."""
        self.limit = _not_above(recipe.bound)
        """The bound, rounded down to float32."""

    @property
    def clips(self) -> bool:
        """Whether the metric sees x + u cut to [0, 1]."""
        return not (self.shows_beyond and self.recipe.as_benchmark)

    @abstractmethod
    def perturbation(self, step: int) -> Perturbation:
        """Return the perturbation that a step adds to its images, (3, size, size), where gradients are computed."""

    @abstractmethod
    def learn(self, gradients: Gradients) -> None:
        """Take a step, given gradients of Q / span with respect to each x + u, (N, 3, size, size)."""

    @abstractmethod
    def final(self) -> Perturbation:
        """Return the result of the training, on the host."""

    @abstractmethod
    def state(self) -> State:
        """Return everything that `restore` needs, on the host."""

    @abstractmethod
    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Resume from a state; one that does not fit raises KeyError, ValueError or RuntimeError."""

    def start(self) -> Perturbation:
        """Return the initial perturbation: zero, or 1e-4 everywhere in benchmark mode."""
        value = BENCHMARK_START if self.recipe.as_benchmark else 0.0
        return np.full((3, self.recipe.size, self.recipe.size), value, dtype=np.float32)


def _not_above(bound: float) -> float:
    near = np.float32(bound)
    return float(near if float(near) <= bound else np.nextafter(near, np.float32(0)))
