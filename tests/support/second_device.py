"""A second device that computes on the CPU: torch's `lazy`, whose tensors refuse to mix with the CPU's.

Code that runs there keeps every tensor on the device that it was given, as a GPU requires.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils import _pytree

SECOND_DEVICE: Final = "lazy:0"
_ON_THE_CPU: Final = (
    torch.ops.aten.convolution.default,
    torch.ops.aten.div.Tensor,
    torch.ops.aten.convolution_backward.default,
    torch.ops.aten.index.Tensor,
    torch.ops.aten.pixel_shuffle.default,
    torch.ops.aten.pixel_unshuffle.default,
    torch.ops.aten.split_copy.Tensor,
    torch.ops.aten.unbind_copy.int,
)
"""Operations that the device lacks, does wrongly, or gives CPU tensors for; computed on the CPU and sent back."""


@cache
def second_device() -> torch.device:
    """Start the device once in this process, and return it."""
    import torch._lazy.ts_backend

    torch._lazy.ts_backend.init()  # type: ignore[no-untyped-call]
    _LIBRARY.impl("convolution_overrideable", _convolution, "Lazy")  # type: ignore[no-untyped-call]
    _LIBRARY.impl("convolution_backward_overrideable", _convolution_backward, "Lazy")  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about kernels that are replaced
        for operation in _ON_THE_CPU:
            _LIBRARY.impl(operation, partial(_on_the_cpu, operation), "Lazy")  # type: ignore[no-untyped-call]
    return torch.device(SECOND_DEVICE)


_LIBRARY: Final = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]


def _on_the_cpu(operation: Callable[..., Any], *inputs: Any, **named: Any) -> Any:
    """Run an operation on the CPU; refuse tensors of several devices except single numbers, as a GPU does."""
    given = [value for value in _pytree.tree_leaves((inputs, named)) if isinstance(value, Tensor)]
    given = [value for value in given if value.dim() or not value.is_cpu] or given
    if len(devices := {each.device for each in given}) > 1:
        raise RuntimeError(f"tensors of several devices: {sorted(map(str, devices))}")
    with torch._C.DisableTorchFunction():  # a test that counts copies counts the others
        inputs, named = _pytree.tree_map_only(Tensor, Tensor.cpu, (inputs, named))
        return _pytree.tree_map_only(Tensor, lambda value: value.to(given[0].device), operation(*inputs, **named))


def _convolution(*inputs: Any) -> Tensor:
    """The name under which traced graphs call a convolution."""
    result: Tensor = _on_the_cpu(torch.ops.aten.convolution.default, *inputs)
    return result


def _convolution_backward(gradient: Tensor, image: Tensor, weight: Tensor, *rest: Any) -> Any:
    *sizes, wanted = rest
    backward = torch.ops.aten.convolution_backward.default
    return _on_the_cpu(backward, gradient, image, weight, None, *sizes, wanted)
