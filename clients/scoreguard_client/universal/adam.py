"""The state of torch's Adam as named arrays, so that a checkpoint needs no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy.typing as npt

from scoreguard_client.oracles.arrays import is_host

if TYPE_CHECKING:
    import torch

_PREFIX: Final = "adam"


def adam_arrays(optimiser: torch.optim.Adam) -> dict[str, npt.NDArray[Any]]:
    """Return the moments and counts of every parameter."""
    return {
        f"{_PREFIX}/{index}/{name}": value.cpu().numpy()
        for index, moments in optimiser.state_dict()["state"].items()
        for name, value in moments.items()
    }


def restore_adam(optimiser: torch.optim.Adam, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Restore what `adam_arrays` returned; other names are ignored."""
    state: dict[int, dict[str, Any]] = {}
    for name, array in arrays.items():
        prefix, _, rest = name.partition("/")
        if prefix == _PREFIX:
            index, _, moment = rest.partition("/")
            state.setdefault(int(index), {})[moment] = tensor_of(array)
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def as_tensor(array: Any) -> torch.Tensor:
    """Return a tensor with the values of an array, or the tensor itself; both share their memory."""
    import torch

    return torch.from_numpy(array) if is_host(array) else array


def tensor_of(array: npt.NDArray[Any]) -> torch.Tensor:
    """Copy an array into a tensor with its own memory."""
    import torch

    return torch.from_numpy(array.copy())
