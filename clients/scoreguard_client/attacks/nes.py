"""NES: ascent along gradients estimated by natural evolution strategies (Ilyas et al., ICML 2018, arXiv 1804.08598).

    g = 1 / (2 n sigma) * sum_i (Q(x + sigma u_i) - Q(x - sigma u_i)) u_i,  u_i ~ N(0, I)     (section 2.2)
    m = momentum * m + (1 - momentum) * g,  x = Clip_{x, eps}(x + step * sign(m))              (projected ascent)

With n = 25 pairs (50 queries), sigma = 0.001 and step = 0.01. The momentum of 0.9 is from the authors' code, whose
search over step lengths for a target class is meaningless for a score and is left out.

The public benchmark's code differs, and `mode=benchmark` follows it: u is one 3 x 32 x 32 tile repeated over the image,
there is no momentum, and x = Clip(x + step * g / ||g||_2) with the norm over one tile, 20 pairs and step = 0.1. That
code returns the last image without knowing its score; here both modes return the best image queried, and probes stay
inside the budget (see `estimated_steps`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from scoreguard_client.attacks.base import Mode
from scoreguard_client.attacks.estimated_steps import EstimatedSteps, Mover
from scoreguard_client.attacks.mode_defaults import fill_mode_defaults
from scoreguard_client.attacks.per_image import totals
from scoreguard_client.oracles.arrays import float32, float64, functions
from scoreguard_client.oracles.base import Gradients, Images

_TILE: Final = 32


@dataclass(frozen=True, kw_only=True)
class NES(EstimatedSteps):
    """Gaussian probes; `mode` chooses direction and step as above."""

    name = "nes"
    title = "NES"
    paper = "Ilyas et al., arXiv 1804.08598"
    year = 2018
    on_device = True

    pairs: int = 0
    """Pairs of opposite probes for each step; 0 = the mode's own: 25 in the paper, 20 in the benchmark."""
    sigma: float = 1e-3
    """Standard deviation of the probes, in units of [0, 1]; 0.001 in the paper and in the benchmark."""
    step: float = 0
    """Length of a step: of each element (paper) or in L2 over a tile (benchmark); 0 = the mode's own: 0.01 or 0.1."""
    momentum: float = 0.9
    """Share of the last direction that is kept, in [0, 1); paper mode only."""
    mode: Mode = Mode.PAPER
    """Which variant of the method runs."""

    def __post_init__(self) -> None:
        fill_mode_defaults(self, self.mode, pairs=(25, 20), step=(0.01, 0.1))
        super().__post_init__()
        self.require(self.step > 0, f"step must be above 0, not {self.step:g}")
        self.require(0 <= self.momentum < 1, f"momentum must be in [0, 1), not {self.momentum:g}")

    @property
    def spread(self) -> float:
        """Sigma."""
        return self.sigma

    def probe(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Images:
        """Draw normal numbers, or one tile of them repeated."""
        if self.mode is Mode.PAPER:
            return rng.standard_normal(shape, dtype=np.float32)
        _, height, width = shape
        tile = rng.standard_normal((shape[0], _TILE, _TILE), dtype=np.float32)
        return np.tile(tile, (1, -(-height // _TILE), -(-width // _TILE)))[:, :height, :width]

    def mover(self, clean: Images) -> Mover:
        """Create the mode's step function."""
        return self._normalised if self.mode is Mode.BENCHMARK else self._signed(functions(clean).zeros_like(clean))

    def _signed(self, direction: Gradients) -> Mover:
        def move(images: Images, gradient: Gradients) -> Images:
            nonlocal direction
            direction = self.momentum * direction + (1 - self.momentum) * gradient  # pyright: ignore[reportAssignmentType]
            moved: Images = images + float32(self.step * functions(direction).sign(direction))
            return moved

        return move

    def _normalised(self, images: Images, gradient: Gradients) -> Images:
        norm = functions(gradient).sqrt(totals(float64(gradient[:, :, :_TILE, :_TILE]) ** 2))
        # A zero estimate has no direction: keep it zero instead of computing 0 / 0.
        moved: Images = images + float32(self.step * gradient / (norm + (norm == 0)))
        return moved
