"""The family of attacks that descend a loss with Adam: what Korhonen, SSAH, Zhang and AdvCF share.

    loss(x') = J(x') + what the method adds,    J = 1 - Q(x') / range

Q is the quality, turned round where the attack lowers it, and range the width of the metric's declared range: J is of
the order of 1 whatever the metric, which is what makes it fit beside another loss. Each image has its own loss and
its own tensor under Adam, so that the last bit of its result does not depend on its batch (see `per_image`).

None of these papers bounds the perturbation: eps = 1 by default. With a smaller eps every image that the metric is
asked about is cut to the ball.

The session refuses gradients that are not finite. The benchmark's code turns them into zeros (`nan_to_num`); here that
rule has no case left for the gradient of the metric.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from scoreguard_client._extras import require_torch
from scoreguard_client.attacks.base import Mode, Needs
from scoreguard_client.attacks.linf_attack import LInfAttack
from scoreguard_client.attacks.mode_defaults import write
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.base import Gradients, Images

Slope = Callable[[Images], Gradients]
"""Derivative of a loss with respect to each image."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How far and how often one reading of a method steps."""

    lr: float
    """Adam's learning rate."""
    iterations: int
    """Number of steps."""


@dataclass(frozen=True, kw_only=True)
class AdamSteps(LInfAttack):
    """Adam on a loss; a subclass says on which, and what its two sources take for `lr` and `iterations`."""

    needs = Needs.GRADIENT
    budget = "none; L∞ ≤ eps where eps < 1"
    schedules: ClassVar[Mapping[Mode, Schedule]]
    """What each mode takes where `lr` or `iterations` is left at 0."""

    eps: float = 1.0
    """Radius of an L-infinity ball, in units of [0, 1]; 1 = no bound, as in the papers."""
    lr: float = 0.0
    """Adam's learning rate; 0 = what the source of the mode takes, written out in the attack's text form."""
    iterations: int = 0
    """Number of steps; 0 = what the source of the mode takes, written out in the attack's text form."""
    mode: Mode = Mode.PAPER
    """Which reading of the method runs; see the module."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 <= self.lr <= 1, f"lr must be in [0, 1], not {self.lr:g}")
        self.require(self.iterations >= 0, f"iterations must be at least 0, not {self.iterations}")
        schedule = self.schedules[self.mode]
        write(self, "lr", self.lr or schedule.lr)
        write(self, "iterations", self.iterations or schedule.iterations)

    @property
    def keeps_clean(self) -> bool:
        """In paper mode; the benchmark's code hands out its last image, which may be worse than the clean one."""
        return self.mode is Mode.PAPER

    @property
    def queries_needed(self) -> int:
        """One gradient for each step."""
        return self.iterations

    def adam(self, parameters: list[Any]) -> Any:
        """Adam of torch, on one tensor for each image."""
        return require_torch(f"the attack {self.name}").optim.Adam(parameters, lr=self.lr)

    def walk(self, session: Session, start: Images, slope: Slope, *, forget: bool = False) -> Images:
        """Step on the pixels themselves, cut to the budget after each step.

        Args:
            session: the run.
            start: where to begin, (N, 3, H, W).
            slope: derivative of the loss.
            forget: whether Adam starts anew at each step: then its step is lr * g / (|g| + 1e-8), a sign step.
        """
        leaves, images = separate(start), start
        optimizer = self.adam(leaves)
        for _ in range(self.iterations):
            optimizer = self.adam(leaves) if forget else optimizer
            for leaf, own in zip(leaves, slope(images), strict=True):
                leaf.grad = as_tensor(own)
            optimizer.step()
            images = session.region.clip(together(leaves))
            for leaf, own in zip(leaves, images, strict=True):
                leaf.copy_(as_tensor(own))
        return images


def loss_slope(session: Session, gradient: Gradients) -> Gradients:
    """Derivative of J from that of the objective."""
    return np.asarray(gradient * np.float32(-1 / session.span))


def as_tensor(values: Images) -> Any:
    """An array as a tensor of its own memory."""
    return require_torch("attacks with gradients").from_numpy(np.array(values))


def separate(images: Images) -> list[Any]:
    """A tensor of its own for each image."""
    return [as_tensor(image) for image in images]


def together(tensors: list[Any]) -> Images:
    """The images of separate tensors as one batch with memory of its own."""
    return np.stack([tensor.detach().numpy() for tensor in tensors])
