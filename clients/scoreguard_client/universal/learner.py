"""What the trainings share: a perturbation that is shown, told gradients, and kept.

The objective is J = mean over images of Q(x + u) / span, to be raised; Q is the score with the sign that makes it
rise with quality (or fall, where the perturbation is to lower it), span the width of the metric's declared range.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from scoreguard_client.oracles.base import Gradients
from scoreguard_client.perturbations.recipe import Recipe
from scoreguard_client.perturbations.tiling import Perturbation

State = dict[str, npt.NDArray[Any]]
"""All that a training needs to go on, by name."""
BENCHMARK_START: Final = 1e-4
"""The value from which the benchmark starts every pixel of a perturbation."""


class Learner(ABC):
    """A training in progress."""

    shows_beyond: ClassVar[bool] = False
    """Whether the benchmark's code shows the metric images that are not cut to [0, 1]."""

    augments: ClassVar[bool] = False
    """Whether each step sees random windows and flips of its images in place of their centres."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        """What is trained."""
        self.limit = _not_above(recipe.bound)
        """The bound as a float32 value that is not above it."""

    @property
    def clips(self) -> bool:
        """Whether the metric sees x + u cut to [0, 1]."""
        return not (self.shows_beyond and self.recipe.as_benchmark)

    @abstractmethod
    def perturbation(self, step: int) -> Perturbation:
        """What a step adds to its images, (3, size, size)."""

    @abstractmethod
    def learn(self, gradients: Gradients) -> None:
        """Make the step: gradients of Q / span with respect to each x + u, (N, 3, size, size)."""

    @abstractmethod
    def final(self) -> Perturbation:
        """What the training hands out."""

    @abstractmethod
    def state(self) -> State:
        """Everything that `restore` needs."""

    @abstractmethod
    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from a state; one that does not fit raises KeyError, ValueError or RuntimeError."""

    def start(self) -> Perturbation:
        """Zero; in benchmark mode 1e-4 everywhere."""
        value = BENCHMARK_START if self.recipe.as_benchmark else 0.0
        return np.full((3, self.recipe.size, self.recipe.size), value, dtype=np.float32)


def _not_above(bound: float) -> float:
    near = np.float32(bound)
    return float(near if float(near) <= bound else np.nextafter(near, np.float32(0)))
