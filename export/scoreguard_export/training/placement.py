"""Where a training computes: model, batches and optimiser on a device; photographs, labels and files on the host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree

from scoreguard.chain.devices import Device
from scoreguard.chain.numerics import DEFAULT
from scoreguard_export.errors import TrainingError


@contextmanager
def computing(device: Device) -> Iterator[None]:
    """Compute repeatably within the block.

    Raises:
        TrainingError: the device's memory does not suffice.
    """
    try:
        with DEFAULT.applied(device.torch):
            yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(f"a batch needs more memory than {device.name} has left: use a smaller --batch") from error


def on_host(content: dict[str, Any], device: Device) -> dict[str, Any]:
    """Return the content of a checkpoint with its tensors on the CPU, so that training may resume on any device."""
    if device.is_cpu:
        return content
    moved: dict[str, Any] = _pytree.tree_map_only(Tensor, lambda value: value.detach().cpu(), content)
    return moved
