"""Gradients that take the place of a step's own: BPDA, and the cubic rule of rounding.

BPDA (Athalye et al., "Obfuscated gradients give a false sense of security", ICML 2018): the forward pass runs the
defence, the backward pass takes a differentiable stand-in. Both functions give the purified image itself to the last
bit, which images + (purified − images) in floating point does not: that sum is rounded twice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from scoreguard.chain.rounding import pulled_back
from scoreguard.v1.spec import Step


def pass_identity(images: Tensor, purified: Tensor) -> Tensor:
    """`purified`, with a gradient that goes to `images` as it is.

    Args:
        images: what the step was given, (N, 3, H, W).
        purified: what it gave, without a gradient of its own, in the same shape.
    """
    passed: Tensor = _Identity.apply(images, purified)  # type: ignore[no-untyped-call]
    return passed


def pass_cubic(step: Step, images: Tensor, purified: Tensor) -> Tensor:
    """`purified`, with a gradient that goes to `images` by the cubic rule; see `rounding`.

    Args:
        step: `jpeg` or `quantise`, every parameter filled in.
        images: what the step was given, (N, 3, H, W).
        purified: what it gave, without a gradient of its own.
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
        # The codec is numpy's.
        pulled = pulled_back(ctx.step, images.detach().cpu().numpy(), gradient.cpu().numpy())
        return None, torch.from_numpy(pulled).to(gradient.device), None
