"""Base of the attacks that descend a loss with Adam: Korhonen, SSAH, Zhang and AdvCF.

    loss(x') = J(x') + what the method adds,    J = 1 - Q(x') / range

Q is the quality, negated if the attack lowers it, and range the width of the metric's declared range: J is of the order
of 1 for every metric, so it can be added to another loss. Each image has its own loss and its own tensor under Adam, so
the last bit of its result does not depend on its batch (see `per_image`). On a device, where no such bit is promised,
Adam sees the batch as one tensor, and nothing is copied to the host.

None of these papers bounds the perturbation: eps = 1 by default. With a smaller eps every image is cut to the ball
before the metric scores it.

The session refuses gradients that are not finite. The benchmark's code turns them into zeros (`nan_to_num`); here that
rule never applies to the gradient of the metric.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from scoreguard.chain.devices import CPU
from scoreguard_client._extras import require_torch
from scoreguard_client.attacks.base import Mode, Needs
from scoreguard_client.attacks.linf_attack import LInfAttack
from scoreguard_client.attacks.mode_defaults import write
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.arrays import is_host
from scoreguard_client.oracles.base import Gradients, Images

Slope = Callable[[Images], Gradients]
"""Derivative of a loss with respect to each image."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Step size and number of steps of one variant of a method."""

    lr: float
    """Adam's learning rate."""
    iterations: int
    """Number of steps."""


@dataclass(frozen=True, kw_only=True)
class AdamSteps(LInfAttack):
    """Adam on a loss; a subclass defines the loss, and the `lr` and `iterations` of its two sources."""

    needs = Needs.GRADIENT
    budget = "none; L∞ ≤ eps where eps < 1"
    schedules: ClassVar[Mapping[Mode, Schedule]]
    """Values for each mode if `lr` or `iterations` is left at 0."""

    eps: float = 1.0
    """Radius of an L-infinity ball, in units of [0, 1]; 1 = no bound, as in the papers."""
    lr: float = 0.0
    """Adam's learning rate; 0 = the value in the mode's source, written out in the attack's text form."""
    iterations: int = 0
    """Number of steps; 0 = the value in the mode's source, written out in the attack's text form."""
    mode: Mode = Mode.PAPER
    """Which variant of the method runs; see the module."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 <= self.lr <= 1, f"lr must be in [0, 1], not {self.lr:g}")
        self.require(self.iterations >= 0, f"iterations must be at least 0, not {self.iterations}")
        schedule = self.schedules[self.mode]
        write(self, "lr", self.lr or schedule.lr)
        write(self, "iterations", self.iterations or schedule.iterations)

    @property
    def keeps_clean(self) -> bool:
        """True in paper mode; the benchmark's code returns its last image, which may be worse than the clean one."""
        return self.mode is Mode.PAPER

    @property
    def queries_needed(self) -> int:
        """Count one gradient for each step."""
        return self.iterations

    def adam(self, parameters: list[Any]) -> Any:
        """Create torch's Adam, on one tensor per image."""
        return require_torch(f"the attack {self.name}").optim.Adam(parameters, lr=self.lr)

    def walk(self, session: Session, start: Images, slope: Slope, *, forget: bool = False) -> Images:
        """Step on the pixels themselves, projecting to the budget after each step.

        Args:
            session: the run.
            start: starting images, (N, 3, H, W).
            slope: derivative of the loss.
            forget: whether to reset Adam at each step: then its step is lr * g / (|g| + 1e-8), a sign step.
        """
        leaves, images = separate(start), start
        optimizer = self.adam(leaves)
        for _ in range(self.iterations):
            optimizer = self.adam(leaves) if forget else optimizer
            for leaf, own in zip(leaves, parts(slope(images)), strict=True):
                leaf.grad = as_tensor(own)
            optimizer.step()
            images = session.region.clip(together(leaves))
            for leaf, own in zip(leaves, parts(images), strict=True):
                leaf.copy_(as_tensor(own))
        return images


def loss_slope(session: Session, gradient: Gradients) -> Gradients:
    """Compute the derivative of J from that of the objective."""
    return gradient * float(np.float32(-1 / session.span))


def parts(images: Images) -> list[Images]:
    """Split what Adam keeps apart: the images of a batch on the host; on a device the batch is one part."""
    return [image[None] for image in images] if is_host(images) else [images]


def as_tensor(values: Any) -> Any:
    """Copy an array into a tensor with its own memory, on the array's device."""
    if not is_host(values):
        return values.clone()
    return require_torch("attacks with gradients").from_numpy(np.array(values))


def separate(images: Images) -> list[Any]:
    """Split images into separate tensors, each a batch: of one image on the host, of all images on a device."""
    return [as_tensor(part) for part in parts(images)]


def together(tensors: list[Any]) -> Images:
    """Join the images of separate tensors into one batch with its own memory, where they are."""
    if tensors[0].device.type == CPU:
        return np.concatenate([tensor.detach().numpy() for tensor in tensors])
    batch: Images = tensors[0].detach().clone()
    return batch
