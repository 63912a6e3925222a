"""What a network of pyiqa asks for while it is made: files by address, in the order in which they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from torch import Tensor, nn

LIBRARY: Final = "library:"
"""Begins the address of a backbone that timm or torchvision would fetch by itself: `library:timm/resnet50`."""


def file_name(address: str) -> str:
    """Return the name of the file at an address."""
    return PurePosixPath(unquote(urlsplit(address).path)).name


def networks_in(network: nn.Module) -> list[nn.Module]:
    """Return a network, then those that its modules keep in lists, out of sight of `parameters`."""
    found = [network]
    for module in network.modules():
        for value in vars(module).values():
            found += [item for item in _items(value) if isinstance(item, nn.Module)]
    return list(dict.fromkeys(found))


def _items(value: object) -> Iterator[object]:
    yield from value if isinstance(value, list | tuple) else ()


def parameters_in(network: nn.Module) -> dict[str, Tensor]:
    """Return every parameter of a network by name, those kept out of sight included."""
    return {
        f"{place}:{name}" if place else name: parameter
        for place, part in enumerate(networks_in(network))
        for name, parameter in part.named_parameters()
    }


@dataclass(kw_only=True)
class Asked:
    """Record of the files that were asked for, and of the parameters that each would have filled."""

    addresses: list[str] = field(default_factory=list)
    _filled: dict[int, str] = field(default_factory=dict)
    _filling: set[str] = field(default_factory=set)
    _alive: list[Any] = field(default_factory=list)

    def note(self, address: str) -> None:
        """Remember that a file is asked for; what is filled next comes from it."""
        self.addresses.append(address)

    def filled(self, module: nn.Module) -> None:
        """Remember that the file last asked for fills a module."""
        self._filling.update(self.addresses[-1:])
        for parameter in module.parameters() if self.addresses else ():
            self._filled[id(parameter)] = self.addresses[-1]
            self._alive.append(parameter)  # an identity is of use only while its object lives

    def needed(self, network: nn.Module) -> list[str]:
        """Return the addresses without which a parameter of the finished network would be untrained.

        A file all of whose numbers are overwritten by a later one, such as a backbone's, is not among them. Files that
        fill no parameter (statistics, embeddings of texts) are.
        """
        used = {self._filled.get(id(p)) for part in networks_in(network) for p in part.parameters()}
        return [a for a in dict.fromkeys(self.addresses) if a in used or a not in self._filling]
