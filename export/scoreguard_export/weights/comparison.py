"""How the tensors of a file differ from those that a network needs, in one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

_NAMED: Final = 5
"""How many tensors of each kind of difference are named."""


def difference(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Say how tensors differ from the wanted ones; empty if names and shapes agree and all numbers are finite.

    Args:
        wanted: The network's tensors; only their names and shapes are read, so they may be on the device `meta`.
        found: The file's.
    """
    if parts := list(_parts(wanted, found)):
        return "; ".join(parts)
    odd = (name for name in wanted if not bool(torch.isfinite(found[name]).all()))
    return next((f"{name} holds numbers that are not finite" for name in odd), "")


def _parts(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> Iterator[str]:
    if missing := sorted(set(wanted) - set(found)):
        yield _listed("missing", missing)
    if extra := sorted(set(found) - set(wanted)):
        yield _listed("too many", extra)
    both = [name for name in wanted if name in found]
    shapes = {name: (tuple(found[name].shape), tuple(wanted[name].shape)) for name in both}
    other = [f"{name} is {there}, not {needed}" for name, (there, needed) in shapes.items() if there != needed]
    if other:
        yield _listed("of another shape", other)


def _listed(kind: str, names: Sequence[str]) -> str:
    more = ", …" if len(names) > _NAMED else ""
    return f"{len(names)} tensors {kind}: {', '.join(names[:_NAMED])}{more}"
