"""Optimized-UAP: Adam on the perturbation (Shumitskaya et al., BMVC 2022).

"Universal perturbation attack on differentiable no-reference image- and video-quality metrics":

    u = argmax mean_i Q(clip(x_i + u, 0, 1)) / span,  |u| <= bound

by Adam, with u cut to the bound after every step.

- paper: from u = 0; the gradient is that of the whole expression, so a pixel that is cut has none.
- benchmark: from u = 1e-4; the gradient passes straight through the cut to [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from scoreguard.chain.devices import CPU
from scoreguard_client._extras import require_torch
from scoreguard_client.oracles.arrays import Put, unchanged
from scoreguard_client.oracles.base import Gradients
from scoreguard_client.perturbations.recipe import Recipe
from scoreguard_client.perturbations.tiling import Perturbation
from scoreguard_client.universal.adam import adam_arrays, as_tensor, restore_adam
from scoreguard_client.universal.learner import Learner, State


class OptimizedLearner(Learner):
    """Adam on the perturbation itself."""

    def __init__(self, recipe: Recipe, put: Put = unchanged) -> None:
        """Start a training.

        Raises:
            MissingExtraError: torch is not installed.
        """
        super().__init__(recipe, put)
        self._torch = require_torch("optimized-uap")
        self._values = as_tensor(put(self.start()))
        self._adam = self._torch.optim.Adam([self._values], lr=recipe.rate)

    def perturbation(self, step: int) -> Perturbation:
        """The values so far."""
        del step
        on_device: Any = self._values.clone()
        return self.final() if self._values.device.type == CPU else on_device

    def learn(self, gradients: Gradients) -> None:
        """Take one step of Adam, cut to the bound."""
        self._values.grad = -as_tensor(gradients).mean(dim=0)
        self._adam.step()
        self._values.clamp_(-self.limit, self.limit)

    def final(self) -> Perturbation:
        """The values."""
        values: Perturbation = self._values.cpu().numpy().copy()
        return values

    def state(self) -> State:
        """Values and moments."""
        return {"values": self.final()} | adam_arrays(self._adam)

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Restore values and moments."""
        self._values.copy_(as_tensor(self.put(state["values"].copy())))
        restore_adam(self._adam, state)
