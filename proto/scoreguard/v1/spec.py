"""The text form of a defence chain: `blur:kernel=3:sigma=0.8+jpeg:quality=50:subsampling=4:2:0`.

The command line, HTTP forms, plans and reports use the same form. Steps are joined by `+`. A step is a name followed by
`:key=value` pairs, where a value is a number or a name. An empty text or `none` is the undefended chain.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from scoreguard.support.shown import shown
from scoreguard.v1.errors import SpecError
from scoreguard.v1.scoring_pb2 import DefenceStep

UNDEFENDED = "none"
Value = float | str
"""Value of a parameter: a number, or the name of one of its choices."""
_NAME = re.compile(r"[a-z][a-z0-9_-]*\Z")
_CHOICE = re.compile(r"[a-z0-9][a-z0-9.:_-]*\Z")
_NEXT_PAIR = re.compile(r":(?=[a-z][a-z0-9_-]*=)|:(?=[^=]*\Z)(?![0-9])")
"""A colon before the next key; one inside `4:2:0` is part of the value."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a chain: a defence and the parameters that were set."""

    name: str
    parameters: tuple[tuple[str, Value], ...] = field(default=())
    """(name, value) pairs, sorted by name."""

    def __str__(self) -> str:
        return ":".join([self.name, *(f"{key}={shown_value(value)}" for key, value in self.parameters)])

    @property
    def numbers(self) -> dict[str, float]:
        """The parameters that are numbers, by name."""
        return {key: value for key, value in self.parameters if not isinstance(value, str)}

    @property
    def choices(self) -> dict[str, str]:
        """The parameters whose values are names, by name."""
        return {key: value for key, value in self.parameters if isinstance(value, str)}

    def to_message(self) -> DefenceStep:
        """Return the wire form."""
        return DefenceStep(name=self.name, parameters=self.numbers, choices=self.choices)

    @staticmethod
    def from_message(message: DefenceStep) -> Step:
        """Read the wire form."""
        return step_of(message.name, {**message.parameters, **message.choices})


def step_of(name: str, parameters: Mapping[str, Value]) -> Step:
    """Make a step from named parameters."""
    return Step(name=name, parameters=tuple(sorted(parameters.items())))


def parse_chain(text: str) -> tuple[Step, ...]:
    """Read a chain.

    Raises:
        SpecError: the text is not a chain.
    """
    if text.strip() in {"", UNDEFENDED}:
        return ()
    return tuple(_parse_step(part.strip(), text) for part in text.split("+"))


def format_chain(steps: Iterable[Step | DefenceStep]) -> str:
    """Write a chain; the undefended one is `none`."""
    parts = [str(Step.from_message(step) if isinstance(step, DefenceStep) else step) for step in steps]
    return "+".join(parts) or UNDEFENDED


def parse_chains(text: str) -> tuple[tuple[Step, ...], ...]:
    """Read a comma-separated list of chains, as the command line gives it.

    Raises:
        SpecError: one of the texts is not a chain.
    """
    return tuple(parse_chain(part) for part in text.split(","))


def _parse_step(part: str, text: str) -> Step:
    name, _, rest = part.partition(":")
    pairs = _NEXT_PAIR.split(rest) if rest or part.endswith(":") else []
    if not _NAME.match(name):
        raise SpecError(text, f"'{shown(name)}' is not a name")
    parameters = dict(_parse_pair(pair, text) for pair in pairs)
    if len(parameters) != len(pairs):
        raise SpecError(text, f"a parameter of '{shown(name)}' is given twice")
    return step_of(name, parameters)


def _parse_pair(pair: str, text: str) -> tuple[str, Value]:
    key, equals, number = pair.partition("=")
    if not equals or not _NAME.match(key):
        raise SpecError(text, f"'{shown(pair)}' is not key=value")
    try:
        value = float(number)
    except ValueError:
        if _CHOICE.match(number):
            return key, number
        raise SpecError(text, f"'{shown(number)}' is not a number") from None
    if not math.isfinite(value):
        raise SpecError(text, f"'{shown(number)}' is not a finite number")
    return key, value


def shown_value(value: Value) -> str:
    """Write a value in the form used in a chain."""
    return value if isinstance(value, str) else f"{value:.12g}"
