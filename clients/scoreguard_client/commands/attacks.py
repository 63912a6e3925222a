"""`scoreguard attacks`: list the available attacks; needs neither a server nor torch."""

from __future__ import annotations

from dataclasses import fields
from enum import StrEnum
from fractions import Fraction
from typing import Any

import click

from scoreguard.support import console
from scoreguard.v1.codec import TOP
from scoreguard_client.attacks.base import Attack
from scoreguard_client.attacks.catalogue import CATALOGUE, parameter_types
from scoreguard_client.attacks.degraded.catalogue import DEGRADED_COPIES
from scoreguard_client.degradations.catalogue import DEGRADATIONS

_EVERYWHERE = "direction"


@click.command(
    epilog="""\b
Example:
  scoreguard attacks
  scoreguard attacks --markdown > attacks.md
"""
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
def command(as_json: bool, markdown: bool) -> None:
    """List the attacks: source, budget, what each needs, parameters with their defaults.

    Every attack also takes direction=up (the default) or down.
    """
    console.say_broken(CATALOGUE)
    if as_json:
        click.echo(console.json_text({name: _facts(kind) for name, kind in CATALOGUE.items()}))
        return
    for line in _markdown() if markdown else [*_listing(), *_degraded()]:
        click.echo(line)


def _listing() -> list[str]:
    lines = []
    for name, kind in CATALOGUE.items():
        lines.append(f"{name}: {kind.title}, {kind.year} ({kind.paper})")
        lines.append(f"  budget {kind.budget}; needs {_needs(kind)}")
        lines.append(f"  {' '.join(f'{key}={value}' for key, value in _defaults(kind).items())}")
    return lines


def _degraded() -> list[str]:
    """Name the degraded copies, which are no attacks."""
    kinds = DEGRADED_COPIES.values()
    return ["degraded copies, for the order of scores (scoreguard attack --degraded):"] + [
        f"  {kind.name}: {kind.title}; strength 1 to {len(DEGRADATIONS[kind.degradation].strengths)}" for kind in kinds
    ]


def _markdown() -> list[str]:
    heading = ["| attack | source | budget | needs | defaults |", "|---|---|---|---|---|"]
    return heading + [_row(name, kind) for name, kind in CATALOGUE.items()]


def _row(name: str, kind: type[Attack]) -> str:
    defaults = ", ".join(f"`{key}` {value}" for key, value in _defaults(kind).items())
    return f"| `{name}` | {kind.paper} ({kind.year}) | {kind.budget} | {_needs(kind)} | {defaults} |"


def _facts(kind: type[Attack]) -> dict[str, Any]:
    facts = {"title": kind.title, "paper": kind.paper, "year": kind.year, "budget": kind.budget}
    return facts | {"needs": kind.needs.value, "chain": kind.wants, "parameters": _defaults(kind)}


def _needs(kind: type[Attack]) -> str:
    """Say what it requires, and which chain if not every chain is suitable."""
    return kind.needs if kind.wants == Attack.wants else f"{kind.needs}; {kind.wants}"


def _defaults(kind: type[Attack]) -> dict[str, str]:
    """Return the defaults of an instance: some depend on the mode and are filled in on construction."""
    types = parameter_types(kind)
    made = kind.sample()
    shown = (field.name for field in fields(kind) if field.name != _EVERYWHERE)
    return {name: _text(getattr(made, name), types[name]) for name in shown}


def _text(value: Any, kind: type) -> str:
    if issubclass(kind, StrEnum):
        return " or ".join([value, *(other for other in kind if other is not value)])
    if kind is float:
        return _number(value)
    return str(value) or "empty"


def _number(value: float) -> str:
    """Write a number in levels of 255 if that is its original form."""
    levels = Fraction(value).limit_denominator(TOP)
    as_levels = value < 1 and levels.denominator > 1 and TOP % levels.denominator == 0
    if as_levels and abs(float(levels) - value) < 1e-12 and len(f"{value:g}") > 5:
        return f"{levels.numerator * (TOP // levels.denominator)}/{TOP}"
    return f"{value:g}"
