"""The values that a parameter allows: one rule and one wording for the server, a surrogate and a plan."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from scoreguard.support.near import near_names
from scoreguard.support.shown import shown
from scoreguard.v1.errors import ParameterError
from scoreguard.v1.manifest_pb2 import ParameterSpec
from scoreguard.v1.spec import Step, Value, shown_value


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter of a defence: an input of its graph, or structural, with one exported variant per choice."""

    name: str
    """Name in requests and, for a graph input, in the graph."""
    description: str
    """One sentence with the unit."""
    default: float
    """Value if a request does not set the parameter."""
    minimum: float
    """Lowest value allowed."""
    maximum: float
    """Highest value allowed."""
    integer: bool = False
    """Whether only whole numbers are allowed."""
    choices: tuple[float, ...] = ()
    """Exported values of a structural parameter, the only ones allowed; empty = the parameter is a graph input."""
    at_most_side: bool = False
    """Whether the value is a length in pixels, no longer than the shorter side of the image at that step."""
    choice_names: tuple[str, ...] = ()
    """Names of the choices, in order, that requests use instead of numbers; empty = the choices are numbers."""

    @property
    def structural(self) -> bool:
        """Whether each value needs its own graph."""
        return bool(self.choices)

    @property
    def usual(self) -> Value:
        """The default in the form that a request uses."""
        return self.value(self.default)

    @property
    def values(self) -> tuple[Value, ...]:
        """The only values that a request may use; empty = any in the range."""
        return self.choice_names or self.choices

    def value(self, number: float) -> Value:
        """Return the form of a number that a request uses."""
        return dict(zip(self.choices, self.choice_names, strict=False)).get(number, number)

    def number(self, value: Value) -> float:
        """Return the number that an allowed value of a request means."""
        return self.choices[self.choice_names.index(value)] if isinstance(value, str) else value

    def __contains__(self, value: Value) -> bool:
        """Whether a request may use the value."""
        if self.values:
            return value in self.values
        if isinstance(value, str):
            return False
        fits = math.isfinite(value) and self.minimum <= value <= self.maximum
        return fits and not (self.integer and value != int(value))

    def __str__(self) -> str:
        """Describe the allowed values."""
        if self.values:
            return f"one of {', '.join(shown_value(value) for value in self.values)}"
        kind = "a whole number, " if self.integer else ""
        return f"{kind}{self.minimum:g} to {self.maximum:g}"

    @classmethod
    def of(cls, spec: ParameterSpec) -> Self:
        """Return the parameter that a manifest or a server describes."""
        return cls(
            name=spec.name,
            description=spec.description,
            default=spec.default_value,
            minimum=spec.minimum,
            maximum=spec.maximum,
            integer=spec.integer,
            choices=tuple(spec.structural_choices),
            at_most_side=spec.at_most_side,
            choice_names=tuple(spec.choice_names),
        )

    def to_message(self) -> ParameterSpec:
        """Return the description for a manifest."""
        return ParameterSpec(
            name=self.name,
            description=self.description,
            default_value=self.default,
            minimum=self.minimum,
            maximum=self.maximum,
            integer=self.integer,
            structural_choices=self.choices,
            at_most_side=self.at_most_side,
            choice_names=self.choice_names,
        )


def complete(
    defence: str, given: Mapping[str, Value], parameters: Iterable[Parameter], index: int | None = None
) -> dict[str, Value]:
    """Return every parameter of a defence with its value, in the order of the parameters.

    Args:
        defence: its name.
        given: the values that were set; the others take their defaults.
        parameters: all parameters of the defence.
        index: index of the step in its chain, from 0, for the message; None if there is no chain.

    Raises:
        ParameterError: a parameter that the defence does not have, or a value out of its range.
    """
    known = list(parameters)
    for name in given:
        _refuse_unknown(defence, name, [parameter.name for parameter in known], index)
    return {parameter.name: _value(defence, parameter, given, index) for parameter in known}


def in_chain(index: int | None) -> str:
    """The position of a step, for a message: ` (step 2)`."""
    return "" if index is None else f" (step {index + 1})"


def _refuse_unknown(defence: str, name: str, known: Sequence[str], index: int | None) -> None:
    if name not in known:
        near = near_names(name, known) or known or ["none"]
        which = f"defence {defence!r}{in_chain(index)}"
        problem = f"{which} has no parameter '{shown(name)}': it takes {', '.join(near)}"
        raise ParameterError(defence, name, problem)


def _value(defence: str, parameter: Parameter, given: Mapping[str, Value], index: int | None) -> Value:
    value = given.get(parameter.name, parameter.usual)
    if value not in parameter:
        what = Step(name=defence, parameters=((parameter.name, value),))
        raise ParameterError(defence, parameter.name, f"{what}{in_chain(index)} is out of range: {parameter}")
    return value
