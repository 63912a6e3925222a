"""Names of a plan's attacks for people: as short as possible while unique."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from scoreguard.v1.codec import TOP
from scoreguard_client.attacks.base import Direction
from scoreguard_client.attacks.catalogue import kind_of
from scoreguard_client.attacks.external import External
from scoreguard_client.attacks.text_values import unescaped

_LONGEST: Final = 12


def attack_names(attacks: Sequence[str]) -> dict[str, str]:
    """Name each attack by its title, its direction if down, and the parameters that distinguish it from its kind."""
    return {
        attack: _name(attack, [other for other in attacks if kind_of(other) is kind_of(attack)]) for attack in attacks
    }


def attack_text(attack: str) -> str:
    """Return an attack's full text form for people, numbers such as 0.0392156862745 as 10/255; it need not parse."""
    name, *pairs = attack.split(":")
    parts = (pair.partition("=") for pair in pairs)
    return ":".join([name, *(f"{key}{equals}{_levels(value)}" for key, equals, value in parts)])


def _name(attack: str, alike: Sequence[str]) -> str:
    own, kind = _parameters(attack), kind_of(attack)
    down = " down" if own.get("direction") == Direction.DOWN else ""
    others = [_parameters(other) for other in alike]
    title = kind.title
    if kind is External:
        # Two of one kind are two by different people, unless they have one name.
        title, others = f"{unescaped(own['by'])} ({kind.title})", [o for o in others if o["by"] == own["by"]]
    named = (key for key in own if key not in kind.same_to_readers)
    differing = [key for key in named if any(other.get(key) != own[key] for other in others)]
    differences = ", ".join(f"{key} {_value(own[key])}" for key in differing)
    return title + down + (f" ({differences})" if differences else "")


def _parameters(attack: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in attack.split(":")[1:])


def _value(text: str) -> str:
    """Shorten a value: levels as a fraction, and what is no number to its first characters."""
    try:
        Fraction(text)
    except ValueError:
        return text[:_LONGEST]
    return _levels(text)


def _levels(text: str) -> str:
    """Write a number such as 0.0392156862745098 as 10/255, as is usual in the field; anything else stays as it is."""
    try:
        levels = Fraction(text) * TOP
    except ValueError:
        return text
    whole = round(levels)
    near = abs(levels - whole) < Fraction(1, 10**6) and 0 < whole < TOP
    return f"{whole}/{TOP}" if near and len(text) > len("0.123") else text
