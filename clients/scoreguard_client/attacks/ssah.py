"""SSAH: keeps changes out of the low frequencies (Luo et al., CVPR 2022, arXiv 2203.05151).

    min  J(x') + lambda_lf * SmoothL1(phi(x'), phi(x)), summed over all values of an image

phi keeps the low frequencies: the Haar wavelet transform without its three high bands, transformed back, which sets
each block of 2 x 2 pixels to its mean. Images of odd size get a row or column of zeros first, and lose it again.

In both modes J = 1 - Q / range replaces the paper's loss on features. That loss pushes an image's features away from
its own and towards those of another image of the batch; a metric has one number per image and no classes between which
features could change, and an image's result would depend on its batch.

- paper: the variable is m with x' = (tanh(m) + 1) / 2, so no clipping is needed; 150 steps.
- benchmark: the variable is the image itself, cut to [0, 1] after each step; 10 steps.

The last image is returned; in paper mode the clean one if it scores better.

The public code of the benchmark passes the padded image to the metric; here the metric sees the image without padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from scoreguard_client._extras import require_torch
from scoreguard_client.attacks.adam_steps import AdamSteps, Schedule, as_tensor, loss_slope, parts, separate, together
from scoreguard_client.attacks.base import Mode, SearchResult
from scoreguard_client.attacks.session import Session

_MARGIN: Final = 3e-7
"""Margin that keeps m finite at 0 and 1, as in the authors' code."""


@dataclass(frozen=True, kw_only=True)
class SSAH(AdamSteps):
    """Adam on the score and on the low frequencies."""

    name = "ssah"
    title = "SSAH"
    paper = "Luo et al., arXiv 2203.05151"
    year = 2022
    on_device = True
    schedules = MappingProxyType(
        {Mode.PAPER: Schedule(lr=0.001, iterations=150), Mode.BENCHMARK: Schedule(lr=0.001, iterations=10)}
    )

    lambda_lf: float = 0.1
    """Weight of the low frequencies relative to J; 0.1 in the paper and in the benchmark."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 <= self.lambda_lf < np.inf, f"lambda_lf must be at least 0, not {self.lambda_lf:g}")

    def run(self, session: Session) -> SearchResult:
        """Descend."""
        clean = separate(session.clean)
        variables = [self._encoded(image).requires_grad_() for image in clean]
        optimizer, kept = self.adam(variables), [low_frequencies(image) for image in clean]
        for _ in range(self.iterations):
            self._step(session, variables, optimizer, kept)
        return SearchResult(images=session.region.clip(together([self._decoded(variable) for variable in variables])))

    def _step(self, session: Session, variables: list[Any], optimizer: Any, kept: list[Any]) -> None:
        torch = require_torch("the attack ssah")
        decoded = [self._decoded(variable) for variable in variables]
        slopes = loss_slope(session, session.gradient(session.region.clip(together(decoded))))
        optimizer.zero_grad()
        for one, slope, lows in zip(decoded, parts(slopes), kept, strict=True):
            distance = torch.nn.functional.smooth_l1_loss(low_frequencies(one), lows, reduction="sum")
            torch.autograd.backward([one, self.lambda_lf * distance], [as_tensor(slope), None])
        optimizer.step()
        if self.mode is Mode.BENCHMARK:
            with torch.no_grad():
                for variable, image in zip(variables, parts(session.region.clip(together(variables))), strict=True):
                    variable.copy_(as_tensor(image))

    def _encoded(self, clean: Any) -> Any:
        if self.mode is Mode.BENCHMARK:
            return clean.clone()
        return (clean * (2 - 2 * _MARGIN) - 1 + _MARGIN).atanh()

    def _decoded(self, variable: Any) -> Any:
        return variable if self.mode is Mode.BENCHMARK else (variable.tanh() + 1) / 2


def low_frequencies(images: Any) -> Any:
    """Compute phi of a batch of tensors (N, 3, H, W); odd sizes keep their row or column of padding."""
    functional = require_torch("the attack ssah").nn.functional
    height, width = images.shape[2:]
    means = functional.avg_pool2d(functional.pad(images, (0, width % 2, 0, height % 2)), 2)
    return means.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
