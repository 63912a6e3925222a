"""Generative-UAP: a network that draws the perturbation (arXiv 2310.06958, 2023).

    u = bound * tanh(G(z)),  G = argmax mean_i Q(clip(x_i + u, 0, 1)) / span

G is a U-Net trained by Adam, z one noise image, uniform in [0, 1], the same throughout; bound is 10/255.

- paper: the result is the network's own output, without dropout.
- benchmark: after the first step the noise is cut to [-10/255, 10/255], which leaves almost a constant; the network
  stays in training mode, so the result is one draw of its dropout. The gradient passes straight through the cut of
  x + u.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from scoreguard.chain.devices import CPU, CUDA
from scoreguard_client._extras import require_torch
from scoreguard_client.oracles.arrays import Put, unchanged
from scoreguard_client.oracles.base import Gradients
from scoreguard_client.oracles.seeds import derive_seed
from scoreguard_client.perturbations.recipe import Recipe
from scoreguard_client.perturbations.tiling import Perturbation
from scoreguard_client.universal.adam import adam_arrays, as_tensor, restore_adam, tensor_of
from scoreguard_client.universal.learner import Learner, State

if TYPE_CHECKING:
    import torch

_NETWORK: Final = "network/"


class GenerativeLearner(Learner):
    """Adam on the generator."""

    def __init__(self, recipe: Recipe, put: Put = unchanged) -> None:
        """Draw the noise and a fresh network.

        Raises:
            MissingExtraError: torch is not installed.
        """
        super().__init__(recipe, put)
        self._torch = require_torch("generative-uap")
        from scoreguard_client.universal.unet import UNet

        rng = np.random.default_rng(derive_seed(recipe.seed, "noise"))
        noise = rng.random((1, 3, recipe.size, recipe.size), dtype=np.float32)
        self._noise = as_tensor(put(noise))
        with self._seeded("network"):  # Drawn on the host, so that every device starts from the same weights.
            self._network = UNet(recipe.size, recipe.channels).train().to(self._noise.device)
        self._adam = self._torch.optim.Adam(self._network.parameters(), lr=recipe.rate)
        self._drawn: torch.Tensor | None = None

    def perturbation(self, step: int) -> Perturbation:
        """Return the network's current output, with the dropout of this step."""
        with self._seeded("dropout", step):
            self._drawn = self._draw()
        drawn: Any = self._drawn.detach()
        values: Perturbation = drawn.numpy().copy() if drawn.device.type == CPU else drawn
        return values

    def learn(self, gradients: Gradients) -> None:
        """Take one step of Adam on the last output."""
        if self._drawn is None:
            raise RuntimeError("learn comes after perturbation")
        self._adam.zero_grad()
        self._drawn.backward(-as_tensor(gradients).mean(dim=0))  # type: ignore[no-untyped-call]
        self._adam.step()
        if self.recipe.as_benchmark:
            self._noise.clamp_(-self.limit, self.limit)

    def final(self) -> Perturbation:
        """The network's output."""
        self._network.train(self.recipe.as_benchmark)
        with self._torch.no_grad(), self._seeded("export"):
            values: Perturbation = self._draw().cpu().numpy()
        self._network.train()
        return values

    def state(self) -> State:
        """Noise, weights and moments."""
        weights = {_NETWORK + name: value.cpu().numpy() for name, value in self._network.state_dict().items()}
        return weights | {"noise": self._noise.cpu().numpy()} | adam_arrays(self._adam)

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Restore noise, weights and moments."""
        weights = {name: tensor_of(array) for name, array in state.items() if name.startswith(_NETWORK)}
        self._network.load_state_dict({name.removeprefix(_NETWORK): value for name, value in weights.items()})
        self._noise = as_tensor(self.put(state["noise"].copy()))
        restore_adam(self._adam, state)

    def _draw(self) -> torch.Tensor:
        drawn: torch.Tensor = self.limit * self._network(self._noise)[0]
        return drawn

    @contextmanager
    def _seeded(self, *purpose: object) -> Iterator[None]:
        """Seed draws from the recipe's seed and their purpose, without changing the caller's random state."""
        device = self._noise.device
        with self._torch.random.fork_rng(devices=[device] if device.type == CUDA else []):
            self._torch.manual_seed(derive_seed(self.recipe.seed, *purpose))
            yield
