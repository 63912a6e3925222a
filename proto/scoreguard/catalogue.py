"""Classes by name: our own, and those that other distributions register as entry points.

A distribution adds to the catalogue of defences by

    [project.entry-points."scoreguard.defences"]
    gamma = "its_package.gamma:Gamma"

Classes are imported on first use. One that cannot be imported is left out and reported by `broken`. A name that is
taken twice is an error, since it is unclear which of the two was meant.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Generic, TypeVar, cast

from scoreguard.support.near import did_you_mean
from scoreguard.support.shown import shown
from scoreguard.v1.errors import ContractError

OWN: Final = "scoreguard"
"""The distribution that holds our own classes."""
T = TypeVar("T")


class UnknownNameError(ContractError, KeyError):
    """A name that is not in the catalogue."""

    def __init__(self, kind: str, name: str, known: list[str]) -> None:
        self.kind, self.name, self.known = kind, name, known
        self.message = f"unknown {kind} '{shown(name)}': {did_you_mean(name, known)}"
        super().__init__(self.message)

    def __str__(self) -> str:
        """Return the message unchanged; KeyError would quote it."""
        return self.message


class PluginError(ContractError):
    """A class from another distribution that cannot be used."""

    def __init__(self, kind: str, name: str, package: str, reason: str) -> None:
        self.kind, self.name, self.package, self.reason = kind, name, package, " ".join(reason.split())
        super().__init__(f"{kind} {name} of the package {package} cannot be used: {shown(self.reason, 200)}")


class DuplicateNameError(ContractError):
    """A name that two distributions give to different classes."""

    def __init__(self, kind: str, name: str, packages: tuple[str, str]) -> None:
        self.kind, self.name, self.packages = kind, name, packages
        first, second = packages
        super().__init__(f"two packages have a {kind} {name}: {first} and {second}; uninstall one of them")


@dataclass(frozen=True, kw_only=True)
class _Place:
    """The location of a class."""

    package: str
    """The distribution that provides it."""
    target: str
    """`module:Class`."""


class Catalogue(Mapping[str, type[T]], Generic[T]):
    """Classes by name, our own first, imported on first use."""

    def __init__(self, *, kind: str, base: type[Any], own: Mapping[str, str]) -> None:
        """Create a catalogue; nothing is imported or looked up yet.

        Args:
            kind: what it holds, in the singular, for example `defence`; then entry points of the group
                `scoreguard.defences` are added.
            base: the base class of every class in it.
            own: our own classes as `module:Class`, by name.
        """
        self.kind = kind
        self._base = base
        self._own = {name: _Place(package=OWN, target=target) for name, target in own.items()}
        self._loaded: dict[str, type[T] | PluginError] = {}

    def __getitem__(self, name: str) -> type[T]:
        """Return the class of a name.

        Raises:
            UnknownNameError: no class has it; similar names are listed.
            PluginError: the distribution that provides it cannot be used.
            DuplicateNameError: any name is taken twice.
        """
        self._require(name)
        found = self._find(name)
        if isinstance(found, PluginError):
            raise found
        return found

    def __iter__(self) -> Iterator[str]:
        """Names that can be used: our own in the order given, then the others in alphabetical order."""
        return filter(self._usable, self._places)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in self._places and self._usable(str(name))

    def package(self, name: str) -> str:
        """Return the distribution that provides a name.

        Raises:
            UnknownNameError: no class has it.
        """
        self._require(name)
        return self._places[name].package

    def broken(self) -> list[PluginError]:
        """Return the classes that cannot be used, and why."""
        return [found for name in self._places if isinstance(found := self._find(name), PluginError)]

    @cached_property
    def _places(self) -> dict[str, _Place]:
        places = dict(self._own)
        for point in sorted(entry_points(group=f"scoreguard.{self.kind}s"), key=lambda found: found.name):
            place = _Place(package=_distribution(point), target=point.value)
            # An editable installation next to a wheel is found twice.
            if places.setdefault(point.name, place) != place:
                raise DuplicateNameError(self.kind, point.name, (places[point.name].package, place.package))
        return places

    def _require(self, name: str) -> None:
        if name not in self._places:
            raise UnknownNameError(self.kind, name, list(self._places))

    def _usable(self, name: str) -> bool:
        """Whether a known name can be used. Our own always can, so they are not imported to check."""
        return name in self._own or not isinstance(self._find(name), PluginError)

    def _find(self, name: str) -> type[T] | PluginError:
        if name not in self._loaded:
            place = self._places[name]
            self._loaded[name] = self._load(place) if place.package == OWN else self._load_other(name, place)
        return self._loaded[name]

    def _load(self, place: _Place) -> type[T]:
        module, _, attribute = place.target.partition(":")
        return cast("type[T]", getattr(importlib.import_module(module), attribute))

    def _load_other(self, name: str, place: _Place) -> type[T] | PluginError:
        try:
            found: object = self._load(place)
        # Third-party module: an error in its import, of any kind, must not affect the others.
        except Exception as error:
            return PluginError(self.kind, name, place.package, f"{type(error).__name__}: {error}")
        if not (isinstance(found, type) and issubclass(found, self._base)):
            return PluginError(self.kind, name, place.package, f"{place.target} is no {self._base.__name__}")
        return found


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "?"
