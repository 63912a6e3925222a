"""A second device that computes on the CPU: torch's `lazy`, whose tensors refuse to mix with the CPU's.

Code that runs there keeps every tensor on the device that it was given, as a GPU requires.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

SECOND_DEVICE: Final = "lazy:0"


@cache
def second_device() -> torch.device:
    """Start the device once in this process, and return it."""
    import torch._lazy.ts_backend

    torch._lazy.ts_backend.init()  # type: ignore[no-untyped-call]
    _LIBRARY.impl("convolution_overrideable", _convolution, "Lazy")  # type: ignore[no-untyped-call]
    _LIBRARY.impl("convolution_backward_overrideable", _convolution_backward, "Lazy")  # type: ignore[no-untyped-call]
    return torch.device(SECOND_DEVICE)


class HostCopies(TorchFunctionMode):
    """Counts how often Python code takes values of a tensor from a device to the host.

    What happens inside a TorchScript graph is not seen: it has no way to reach the host.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count: int = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count calls that end on the host."""
        name, first = getattr(func, "__name__", ""), args[0] if args else None
        if isinstance(first, Tensor) and first.device.type != "cpu":
            reads = name in _READS or (name == "to" and "cpu" in map(str, (*args[1:], *(kwargs or {}).values())))
            self.count += int(reads)
        return func(*args, **(kwargs or {}))


_READS: Final = {
    "cpu",
    "item",
    "tolist",
    "numpy",
    "__float__",
    "__int__",
    "__bool__",
    "__index__",
    "nonzero",
    "__array__",
    "equal",
    "allclose",
}
"""Methods that wait for the device and return what it holds."""
_LIBRARY: Final = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
"""The lazy device lacks the convolution that traced graphs call."""


def _convolution(image: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
    given = [image, weight, *([] if bias is None else [bias])]
    if {each.device for each in given} != {image.device}:
        raise RuntimeError(f"tensors of several devices: {[str(each.device) for each in given]}")
    result: Tensor = torch.ops.aten.convolution(image.cpu(), weight.cpu(), None if bias is None else bias.cpu(), *rest)
    return result.to(image.device)


def _convolution_backward(gradient: Tensor, image: Tensor, weight: Tensor, *rest: Any) -> tuple[Tensor | None, ...]:
    *sizes, wanted = rest
    found = torch.ops.aten.convolution_backward(gradient.cpu(), image.cpu(), weight.cpu(), None, *sizes, wanted)
    return tuple(None if each is None else each.to(image.device) for each in found)
