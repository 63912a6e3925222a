"""AdvCF, also ACE: an adversarial colour filter (Zhao, Liu & Larson, arXiv 2011.06690; first at BMVC 2020).

Unrestricted: colours change by any amount, but a colour changes the same way wherever it occurs.

Each channel goes through a rising piecewise linear curve of K pieces with slopes theta >= 0:

    F(x) = K / sum(theta) * sum_i clip(x - i / K, 0, 1 / K) * theta_i,   theta = 1 / K at first: the identity
    min  J(F(x)) + weight * sum over channels and pieces of (theta_i / sum(theta) - 1 / K)^2

J = 1 - Q / range replaces the paper's loss of Carlini and Wagner. That loss ends at 0, when the class is wrong; a score
has no such point, so the paper's search for the smallest weight that succeeds is left out, and of all curves tried the
one with the best score is kept.

- paper: Adam at 0.01, 500 steps, weight 5. The image is returned unrounded; the attack's 8-bit result is its rounding,
  as in the authors' code.
- benchmark: the variant for quality metrics: Adam at 0.001, 10 steps, weight 0.5. The result is the 8-bit image of the
  curve whose image scored best before rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from scoreguard.v1.codec import TOP
from scoreguard_client._extras import require_torch
from scoreguard_client.attacks.adam_steps import AdamSteps, Schedule, as_tensor, loss_slope, parts, separate, together
from scoreguard_client.attacks.base import NO_COMPANIONS, Mode, SearchResult
from scoreguard_client.attacks.best import Best
from scoreguard_client.attacks.mode_defaults import write
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.arrays import on_host
from scoreguard_client.oracles.base import Images

_WEIGHTS: Final = {Mode.PAPER: 5.0, Mode.BENCHMARK: 0.5}
_CHANNELS: Final = 3
_TINY: Final = 1e-12
"""Keeps a curve without any slope, sum(theta) = 0, finite."""


@dataclass(frozen=True, kw_only=True)
class AdvCF(AdamSteps):
    """Adam on the slopes of a colour curve."""

    name = "advcf"
    title = "AdvCF"
    paper = "Zhao et al., arXiv 2011.06690"
    year = 2020
    on_device = True
    schedules = MappingProxyType(
        {Mode.PAPER: Schedule(lr=0.01, iterations=500), Mode.BENCHMARK: Schedule(lr=0.001, iterations=10)}
    )

    pieces: int = 64
    """K, pieces of each channel's curve; 64 in the paper and in the benchmark."""
    weight: float = -1.0
    """Weight of the curve's distance from the identity, relative to J; below 0 = 5 in paper and 0.5 in benchmark mode,
    written out in the attack's text form."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.pieces >= 1, f"pieces must be at least 1, not {self.pieces}")
        self.require(bool(np.isfinite(self.weight)), f"weight must be a number, not {self.weight:g}")
        write(self, "weight", self.weight if self.weight >= 0 else _WEIGHTS[self.mode])

    def run(self, session: Session) -> SearchResult:
        """Bend the curves."""
        torch = require_torch("the attack advcf")
        clean, best = separate(session.clean), Best(session.clean)
        shape = (_CHANNELS, self.pieces)
        thetas = [torch.full((len(one), *shape), 1 / self.pieces, device=one.device).requires_grad_() for one in clean]
        optimizer = self.adam(thetas)
        for _ in range(self.iterations):
            self._step(session, _filtered(clean, thetas), thetas, optimizer, best)
        if self.mode is Mode.BENCHMARK:
            # The best score is that of the image before rounding: the base scores the rounded one.
            levels = self.region(on_host(session.clean), NO_COMPANIONS).quantise(on_host(best.images))
            return SearchResult(images=session.put(levels.astype(np.float32) / np.float32(TOP)))
        last = session.region.clip(together(_filtered(clean, thetas)))
        best.update(last, session.objective(last))
        return best.found

    def _step(self, session: Session, filtered: list[Any], thetas: list[Any], optimizer: Any, best: Best) -> None:
        torch = require_torch("the attack advcf")
        asked: Images = session.region.clip(together(filtered))
        objective, gradient = session.value_and_gradient(asked)
        best.update(asked, objective)
        optimizer.zero_grad()
        for image, theta, slope in zip(filtered, thetas, parts(loss_slope(session, gradient)), strict=True):
            bend = ((_shares(theta) - 1 / self.pieces) ** 2).sum()
            torch.autograd.backward([image, self.weight * bend], [as_tensor(slope), None])
        optimizer.step()
        with torch.no_grad():
            for theta in thetas:
                theta.clamp_(min=0)


def _filtered(clean: list[Any], thetas: list[Any]) -> list[Any]:
    return [colour_filter(image, theta) for image, theta in zip(clean, thetas, strict=True)]


def colour_filter(images: Any, theta: Any) -> Any:
    """Map images (N, 3, H, W) in [0, 1] through the curves of slopes theta (N, 3, K), differentiable in theta.

    The sum over all pieces is the rise before a value's own piece plus the rise within that piece.
    """
    share = _shares(theta)
    places = images.flatten(2) * theta.shape[2]
    piece = places.long().clamp(max=theta.shape[2] - 1)
    before = (share.cumsum(2) - share).gather(2, piece)
    return (before + (places - piece) * share.gather(2, piece)).reshape(images.shape)


def _shares(theta: Any) -> Any:
    return theta / theta.sum(2, keepdim=True).clamp(min=_TINY)
