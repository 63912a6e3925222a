"""Move a loaded TorchScript graph to another device, with what is written into its code.

`torch.jit.load` moves weights only, and only to CPUs and NVIDIA GPUs. A traced graph also creates tensors on the device
that it was traced on, and holds constant tensors there; both are moved here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch

_CONSTANT: Final = "prim::Constant"


def move_graph(module: torch.jit.ScriptModule, device: torch.device) -> torch.jit.ScriptModule:
    """Move a graph that has not run yet to a device; returns the same module."""
    if device.type == "cpu":
        return module
    parts: Iterator[Any] = module.modules()
    for part in parts:
        for name, tensor in [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]:
            # The module's own `to` refuses a device whose tensors are of another class.
            part._c.setattr(name, tensor.detach().to(device))
    graph: Any = module.graph
    torch._C._jit_pass_inline(graph)  # calls of other functions become part of the graph
    for constant in list(_constants(graph)):
        if (value := _moved(constant, device)) is not None:
            _replace(graph, constant, value)
    return module


def _constants(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        if node.kind() == _CONSTANT:
            yield node
        for inner in node.blocks():
            yield from _constants(inner)


def _moved(constant: Any, device: torch.device) -> object:
    """Return the value on the device; None = it has none."""
    value = constant.output().toIValue()
    if isinstance(value, torch.device):
        return device
    return value.to(device) if isinstance(value, torch.Tensor) else None


def _replace(graph: Any, constant: Any, value: object) -> None:
    with graph.insert_point_guard(constant):
        constant.output().replaceAllUsesWith(graph.insertConstant(value))
