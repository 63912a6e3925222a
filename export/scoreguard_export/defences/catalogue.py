"""Every defence by name. A new one is a file beside this and a line here."""

from __future__ import annotations

from scoreguard_export.defences.base import Defence
from scoreguard_export.defences.blur import Blur
from scoreguard_export.defences.flip import Flip
from scoreguard_export.defences.jpeg import Jpeg
from scoreguard_export.defences.resize import Resize
from scoreguard_export.errors import UnknownNameError

CATALOGUE: dict[str, type[Defence]] = {
    "blur": Blur,
    "flip": Flip,
    "jpeg": Jpeg,
    "resize": Resize,
}


def defence_named(name: str) -> type[Defence]:
    """Find a defence; its variants are built with `defence_named(name)(**structural)`.

    Raises:
        UnknownNameError: no defence has this name; the message lists the near ones.
    """
    try:
        return CATALOGUE[name]
    except KeyError:
        raise UnknownNameError("defence", name, CATALOGUE) from None


def default_defence(name: str) -> Defence:
    """A defence with the default of every structural parameter, in evaluation mode.

    Raises:
        UnknownNameError: no defence has this name.
    """
    defence = defence_named(name)
    return defence(**{parameter.name: parameter.default for parameter in defence.facts.structural}).eval()
