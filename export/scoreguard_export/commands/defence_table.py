"""The table of all defences: for the terminal, and in Markdown for documents."""

from __future__ import annotations

from typing import Final

from scoreguard.chain.randomness import is_random
from scoreguard.v1.spec import shown_value
from scoreguard_export.archive.facts import exported_facts
from scoreguard_export.defences.base import Defence, Differentiability, Parameter

COLUMNS: Final = (
    "defence",
    "method (year)",
    "parameters",
    "deterministic",
    "gradient",
    "keeps size",
    "runs",
    "weights",
)

_GRADIENT: Final = {
    Differentiability.EXACT: "exact",
    Differentiability.STRAIGHT_THROUGH: "straight through its rounding",
    Differentiability.BPDA_IDENTITY: "as the identity (BPDA)",
}


def cells(defence: type[Defence], separator: str) -> list[str]:
    """Return one row with the facts of a defence, its parameters joined by the separator."""
    facts = defence.facts
    return [
        facts.name,
        f"{facts.title} ({facts.year})",
        separator.join(_parameter(parameter) for parameter in facts.parameters) or "–",
        "no: follows the seed" if is_random(exported_facts(defence)) else "yes",
        _GRADIENT[facts.differentiability],
        "yes" if facts.size_preserving else _sizes(defence),
        _runs(defence),
        _weights(defence),
    ]


def markdown(defences: list[type[Defence]]) -> list[str]:
    """Return the lines of the table."""
    rows = [cells(defence, "; ") for defence in defences]
    lines = [COLUMNS, ["---"] * len(COLUMNS), *([f"`{name}`", *others] for name, *others in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _parameter(parameter: Parameter) -> str:
    choices = ", ".join(shown_value(value) for value in parameter.values)
    allowed = choices or f"{parameter.minimum:g} to {parameter.maximum:g}"
    return f"{parameter.name} = {shown_value(parameter.usual)} ({allowed})"


def _sampled(defence: type[Defence]) -> bool:
    return bool(defence.schedule(defence.facts.variants()[0]))


def _sizes(defence: type[Defence]) -> str:
    return "with restore" if any(p.name == "restore" for p in defence.facts.parameters) else "no"


def _runs(defence: type[Defence]) -> str:
    """Return how the graph is used on each engine."""
    tiles = defence.tiles(defence.facts.variants()[0])
    parts = ["sampler around one graph"] if _sampled(defence) else ["one graph"]
    return ", ".join([*parts, f"tiles of {tiles.size}"] if tiles else parts)


def _weights(defence: type[Defence]) -> str:
    if not defence.sources:
        return "none"
    licences = {name: "shipped" if s.shipped else f"yours ({s.licence})" for name, s in defence.sources.items()}
    (first, *others) = licences.values()
    return first if not others or set(others) == {first} else "; ".join(f"{n}: {what}" for n, what in licences.items())
