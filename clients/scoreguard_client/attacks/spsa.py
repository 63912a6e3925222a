"""SPSA: Adam along simultaneous-perturbation estimates (Uesato et al., ICML 2018, arXiv 1802.05666, algorithm 1).

    g = 1 / (2 n delta) * sum_i (Q(x + delta v_i) - Q(x - delta v_i)) v_i,  v_i uniform in {-1, +1}^D
    x = Clip_{x, eps}(Adam(x, g))

With delta = 0.01 and Adam's step 0.01. The paper takes up to 8192 probes per step; 64 pairs (128 probes) are the
default of the authors' published code and what a budget of 10 000 queries allows. It starts at the clean image. The
public benchmark has no SPSA, so there is only one mode.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scoreguard_client._extras import require_torch
from scoreguard_client.attacks.adam_steps import as_tensor, parts, separate, together
from scoreguard_client.attacks.estimated_steps import EstimatedSteps, Mover
from scoreguard_client.oracles.base import Gradients, Images


@dataclass(frozen=True, kw_only=True)
class SPSA(EstimatedSteps):
    """Rademacher probes and Adam; Adam is torch's, so this attack needs the `attacks` extra."""

    name = "spsa"
    title = "SPSA"
    paper = "Uesato et al., arXiv 1802.05666"
    year = 2018
    on_device = True

    pairs: int = 64
    """Pairs of opposite probes for each step; 64 in the authors' code."""
    delta: float = 0.01
    """Distance of the probes, element by element, in units of [0, 1]; 0.01 in the paper."""
    step: float = 0.01
    """Adam's step, in units of [0, 1]; 0.01 in the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 < self.step <= 1, f"step must be in (0, 1], not {self.step:g}")

    @property
    def spread(self) -> float:
        """Delta."""
        return self.delta

    def probe(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Images:
        """Draw signs, each +1 or -1 with equal probability."""
        return (2 * rng.integers(0, 2, shape, dtype=np.int8) - 1).astype(np.float32)

    def mover(self, clean: Images) -> Mover:
        """Create Adam on the images, with moments kept from step to step."""
        torch = require_torch("the attack spsa")
        leaves = separate(clean)
        adam = torch.optim.Adam(leaves, lr=self.step, maximize=True)

        def move(images: Images, gradient: Gradients) -> Images:
            for leaf, image, slope in zip(leaves, parts(images), parts(gradient), strict=True):
                leaf.copy_(as_tensor(image))
                leaf.grad = as_tensor(slope)
            adam.step()
            return together(leaves)

        return move
