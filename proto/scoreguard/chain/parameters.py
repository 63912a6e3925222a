"""Which values a parameter takes: one rule and one wording for the server, for a surrogate and for a plan."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scoreguard.support.near import near_names
from scoreguard.support.shown import shown
from scoreguard.v1.errors import ParameterError
from scoreguard.v1.spec import Step


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """A parameter of a defence, with the values that it takes."""

    name: str
    default: float
    minimum: float
    maximum: float
    integer: bool
    """Whether only whole numbers are allowed."""
    choices: Sequence[float]
    """The only values allowed; empty = any in the range."""

    def __contains__(self, value: float) -> bool:
        """Whether the value is allowed."""
        if self.choices:
            return value in self.choices
        fits = math.isfinite(value) and self.minimum <= value <= self.maximum
        return fits and not (self.integer and value != int(value))

    def __str__(self) -> str:
        """Say what is allowed."""
        if self.choices:
            return f"one of {', '.join(f'{choice:g}' for choice in self.choices)}"
        kind = "a whole number, " if self.integer else ""
        return f"{kind}{self.minimum:g} to {self.maximum:g}"


def complete(
    defence: str, given: Mapping[str, float], parameters: Iterable[Allowed], place: int | None = None
) -> dict[str, float]:
    """Every parameter of a defence with its value, in the order of the parameters.

    Args:
        defence: its name.
        given: the values that were named; the others take their defaults.
        parameters: all that the defence has.
        place: of the step in its chain, from 0, for the message; None where there is no chain.

    Raises:
        ParameterError: a parameter that the defence does not have, or a value out of its range.
    """
    known = list(parameters)
    for name in given:
        _refuse_unknown(defence, name, [parameter.name for parameter in known], place)
    return {parameter.name: _value(defence, parameter, given, place) for parameter in known}


def in_chain(place: int | None) -> str:
    """Where a step stands, for a message: ` (step 2)`."""
    return "" if place is None else f" (step {place + 1})"


def _refuse_unknown(defence: str, name: str, known: Sequence[str], place: int | None) -> None:
    if name not in known:
        near = near_names(name, known) or known or ["none"]
        which = f"defence {defence!r}{in_chain(place)}"
        problem = f"{which} has no parameter '{shown(name)}': it takes {', '.join(near)}"
        raise ParameterError(defence, name, problem)


def _value(defence: str, parameter: Allowed, given: Mapping[str, float], place: int | None) -> float:
    value = given.get(parameter.name, parameter.default)
    if value not in parameter:
        what = Step(name=defence, parameters=((parameter.name, value),))
        raise ParameterError(defence, parameter.name, f"{what}{in_chain(place)} is out of range: {parameter}")
    return value
