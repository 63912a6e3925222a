"""Momentum-UAP: sign steps with momentum on augmented images, the strongest universal training in this package.

The published trainings overfit: they show the same centre of every image repeatedly, and their perturbations affect
unseen images far less. Here each step sees a random window of each image, flipped left to right half of the time, and
follows the accumulated direction (Dong et al., arXiv 1710.06081) with a step that decays to zero:

    g <- nu g + mean_i grad Q(clip(x_i + u, 0, 1)) / ||.||_1,   nu = 0.9
    u <- clip(u + rate (1 - t / T) sign(g), -bound, bound)

after the universal perturbations of Moosavi-Dezfooli et al. (arXiv 1610.08401), as ascent on a score. The public
benchmark has no such training, so there is only one mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from scoreguard_client.attacks.per_image import totals
from scoreguard_client.oracles.arrays import Put, float32, float64, functions, on_host, unchanged
from scoreguard_client.oracles.base import Gradients
from scoreguard_client.perturbations.recipe import Recipe
from scoreguard_client.perturbations.tiling import Perturbation
from scoreguard_client.universal.learner import Learner, State

_KEPT: Final = 0.9
"""Share of the last direction that is kept."""


class MomentumLearner(Learner):
    """Sign steps on the perturbation itself."""

    augments = True

    def __init__(self, recipe: Recipe, put: Put = unchanged) -> None:
        super().__init__(recipe, put)
        start = self.start()
        self._values: Perturbation = put(start)
        self._direction: npt.NDArray[np.float64] = put(np.zeros(start.shape, dtype=np.float64))
        self._done = 0

    def perturbation(self, step: int) -> Perturbation:
        """The values so far."""
        del step
        return self._values

    def learn(self, gradients: Gradients) -> None:
        """Take one step along the accumulated direction."""
        library = functions(gradients)
        norms = totals(library.abs(gradients))
        # A zero gradient has no direction: keep it zero instead of computing 0 / 0.
        parts = float64(gradients) / (norms + (norms == 0))
        self._direction = _KEPT * self._direction + library.mean(parts, axis=0)
        step = self.recipe.rate * (1 - self._done / self.recipe.steps)
        moved = self._values + step * library.sign(self._direction)
        self._values = float32(library.clip(moved, -self.limit, self.limit))
        self._done += 1

    def final(self) -> Perturbation:
        """The values."""
        return on_host(self._values)

    def state(self) -> State:
        """Values, direction, and number of steps done."""
        arrays = {"values": on_host(self._values), "direction": on_host(self._direction)}
        return arrays | {"done": np.array([self._done])}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Restore values, direction and number of steps."""
        self._values = self.put(state["values"].reshape(self._values.shape))
        self._direction = self.put(state["direction"].reshape(self._direction.shape))
        self._done = int(state["done"][0])
