"""Counts what a block of code copies from the second device to the host."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

WAITS = {"cpu", "numpy", "__array__", "item", "tolist", "__bool__", "__int__", "__float__", "__index__", "__repr__"}
WAITS |= {"nonzero", "argwhere", "equal", "allclose", "is_nonzero", "__contains__", "masked_select", "unique"}
"""Calls that need a tensor's values on the host."""


class CopiesHome(TorchFunctionMode):
    """Counts what waits for the second device: copies to the host, single numbers, and selections by a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.count: int = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count, and run the function."""
        del types
        if args and isinstance(args[0], torch.Tensor) and args[0].device.type == "lazy":
            self.count += waits(func.__name__, [*args[1:], *(kwargs or {}).values()])
        return func(*args, **(kwargs or {}))


def waits(name: str, arguments: list[Any]) -> bool:
    """Whether a call of a tensor waits for its device."""
    home = name in ("to", "_to_copy") and any(str(argument) == "cpu" for argument in arguments)
    masks = [argument for argument in arguments if isinstance(argument, torch.Tensor) and argument.dtype == torch.bool]
    return home or name in WAITS or (name == "__getitem__" and bool(masks))
