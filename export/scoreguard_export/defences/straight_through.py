"""Straight-through estimation: the gradient ignores a step that has no useful derivative.

Method: Bengio, Léonard and Courville, "Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
Computation", 2013 (arXiv 1308.3432). With value v and settled value s: forward s, backward ds/dv := 1.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.jit import is_scripting  # type: ignore[attr-defined]


def straight_through(value: Tensor, settled: Tensor) -> Tensor:
    """Return `settled`, with the gradient of `value`.

    The sum is exact, so the result equals `settled` to the last bit, whenever `settled - value` is exactly a float: for
    every rounding to a whole number (Sterbenz), and for every clamp to a bound of numbers on a common grid.

    Args:
        value: The number before rounding or clamping, any shape.
        settled: The number after it, same shape.
    """
    # Nested, because the TorchScript compiler drops the body of exactly this condition.
    if not is_scripting():  # noqa: SIM102
        # An ONNX graph is never differentiated, which saves two operations per rounding.
        if torch.compiler.is_exporting():
            return settled
    return value + (settled - value).detach()
