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

from scoreguard_client.oracles.base import Gradients
from scoreguard_client.perturbations.recipe import Recipe
from scoreguard_client.perturbations.tiling import Perturbation
from scoreguard_client.universal.learner import Learner, State

_KEPT: Final = 0.9
"""Share of the last direction that is kept."""


class MomentumLearner(Learner):
    """Sign steps on the perturbation itself."""

    augments = True

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self._values, self._done = self.start(), 0
        self._direction = np.zeros(self._values.shape, dtype=np.float64)

    def perturbation(self, step: int) -> Perturbation:
        """The values so far."""
        del step
        return self._values

    def learn(self, gradients: Gradients) -> None:
        """Take one step along the accumulated direction."""
        norms = [float(np.abs(gradient).sum(dtype=np.float64)) for gradient in gradients]
        # A zero gradient has no direction: keep it zero instead of computing 0 / 0.
        parts = [gradient / (norm or 1.0) for gradient, norm in zip(gradients.astype(np.float64), norms, strict=True)]
        self._direction = _KEPT * self._direction + np.mean(parts, axis=0)
        step = self.recipe.rate * (1 - self._done / self.recipe.steps)
        moved = self._values + step * np.sign(self._direction)
        self._values = np.clip(moved, -self.limit, self.limit).astype(np.float32)
        self._done += 1

    def final(self) -> Perturbation:
        """The values."""
        return self._values

    def state(self) -> State:
        """Values, direction, and number of steps done."""
        return {"values": self._values, "direction": self._direction, "done": np.array([self._done])}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Restore values, direction and number of steps."""
        self._values = state["values"].reshape(self._values.shape)
        self._direction = state["direction"].reshape(self._direction.shape)
        self._done = int(state["done"][0])
