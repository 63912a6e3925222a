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

import numpy.typing as npt

from scoreguard_client.oracles.arrays import Put, float32, functions, on_host, unchanged
from scoreguard_client.oracles.base import Gradients
from scoreguard_client.perturbations.recipe import Recipe
from scoreguard_client.perturbations.tiling import Perturbation
from scoreguard_client.universal.learner import Learner, State


class CumulativeLearner(Learner):
    """Steps on the perturbation itself."""

    shows_beyond = True

    def __init__(self, recipe: Recipe, put: Put = unchanged) -> None:
        super().__init__(recipe, put)
        self._values: Perturbation = put(self.start())

    def perturbation(self, step: int) -> Perturbation:
        """The sum so far."""
        del step
        return self._values

    def learn(self, gradients: Gradients) -> None:
        """Add the mean of the steps of the images."""
        library = functions(gradients)
        steps = gradients if self.recipe.as_benchmark else library.sign(gradients)
        moved = self._values + self.recipe.rate * (library.sum(steps, axis=0, dtype=library.float64) / len(steps))
        self._values = float32(library.clip(moved, -self.limit, self.limit))

    def final(self) -> Perturbation:
        """The sum."""
        return on_host(self._values)

    def state(self) -> State:
        """The sum."""
        return {"values": on_host(self._values)}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Restore the sum."""
        self._values = self.put(state["values"].reshape(self._values.shape))
