"""Gradients that replace a step's own: BPDA, and the cubic rule for rounding.

BPDA (Athalye et al., "Obfuscated gradients give a false sense of security", ICML 2018): the forward pass runs the
defence, the backward pass uses a differentiable substitute. Both functions return the purified image exact to the last
bit. In floating point, images + (purified − images) would not be: that sum is rounded twice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from scoreguard.chain.rounding import pulled_back
from scoreguard.v1.spec import Step


def pass_identity(images: Tensor, purified: Tensor) -> Tensor:
    """Return `purified`, with a gradient that passes to `images` unchanged.

    Args:
        images: the input of the step, (N, 3, H, W).
        purified: its output, without its own gradient, in the same shape.
    """
    passed: Tensor = _Identity.apply(images, purified)  # type: ignore[no-untyped-call]
    return passed


def pass_cubic(step: Step, images: Tensor, purified: Tensor) -> Tensor:
    """Return `purified`, with a gradient that passes to `images` by the cubic rule; see `rounding`.

    Args:
        step: `jpeg` or `quantise`, every parameter filled in.
        images: the input of the step, (N, 3, H, W).
        purified: its output, without its own gradient.
    """
    passed: Tensor = _Cubic.apply(step, images, purified)  # type: ignore[no-untyped-call]
    return passed


class _Identity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, purified: Tensor) -> Tensor:
        del ctx, images
        return purified.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        del ctx
        return gradient, None


class _Cubic(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, step: Step, images: Tensor, purified: Tensor) -> Tensor:
        ctx.step = step
        ctx.save_for_backward(images)
        return purified.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        (images,) = ctx.saved_tensors
        # The codec works on NumPy arrays.
        pulled = pulled_back(ctx.step, images.detach().cpu().numpy(), gradient.cpu().numpy())
        return None, torch.from_numpy(pulled).to(gradient.device), None
