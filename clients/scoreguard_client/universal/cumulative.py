"""Cumulative-UAP: one-step perturbations of the training images, accumulated (arXiv 2310.06958, 2023).

- paper: u <- clip(u + rate * mean_i sign(grad Q(clip(x_i + u, 0, 1))), -bound, bound). The benchmark's pages describe
  the average of the non-universal perturbations that one step of gradient ascent gives on each training image; here
  each of them starts from the perturbation so far.
- benchmark: u <- clip(u + rate * grad_u J(u), -bound, bound) with rate 1: the raw gradient, neither sign nor average
  of steps, from u = 1e-4, on images x + u that are not cut to [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from scoreguard_client.oracles.base import Gradients
from scoreguard_client.perturbations.recipe import Recipe
from scoreguard_client.perturbations.tiling import Perturbation
from scoreguard_client.universal.learner import Learner, State


class CumulativeLearner(Learner):
    """Steps on the perturbation itself."""

    shows_beyond = True

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self._values = self.start()

    def perturbation(self, step: int) -> Perturbation:
        """The sum so far."""
        del step
        return self._values

    def learn(self, gradients: Gradients) -> None:
        """Add the mean of the steps of the images."""
        steps = gradients if self.recipe.as_benchmark else np.sign(gradients)
        moved = self._values + self.recipe.rate * steps.mean(axis=0, dtype=np.float64)
        self._values = np.clip(moved, -self.limit, self.limit).astype(np.float32)

    def final(self) -> Perturbation:
        """The sum."""
        return self._values

    def state(self) -> State:
        """The sum."""
        return {"values": self._values}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Restore the sum."""
        self._values = state["values"].reshape(self._values.shape)
