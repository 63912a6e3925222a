"""Over which attacks a worst case goes, in words, and which are missing: it may be worse with those."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from scoreguard.v1.spec import UNDEFENDED, parse_chain
from scoreguard_client.attacks.auto import Auto
from scoreguard_client.attacks.base import Attack, Needs
from scoreguard_client.attacks.catalogue import kind_of
from scoreguard_client.attacks.dct_threshold import DCTThreshold
from scoreguard_client.attacks.free.best import FreeBest
from scoreguard_client.report.build import Report

_FAMILIES: Final[tuple[tuple[str, Callable[[type[Attack]], bool]], ...]] = (
    ("gradient attacks", lambda kind: kind.needs is Needs.GRADIENT),
    ("dct-threshold", lambda kind: issubclass(kind, DCTThreshold | Auto)),
    ("query attacks", lambda kind: issubclass(kind, Auto) or (kind.needs is Needs.SCORES and not _is_free(kind))),
    ("everyday edits", lambda kind: _is_free(kind)),
)
_TRAINED: Final = "trained perturbations"


def families(report: Report) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the families of attacks that the run has, and those that it lacks although they suit one of its chains."""
    kinds = [kind for kind in map(kind_of, report.plan.attacks) if not kind.is_degradation]
    there = [name for name, holds in _FAMILIES if any(map(holds, kinds))]
    suits = any(DCTThreshold.fits(parse_chain(chain)) for chain in report.metric.chains)
    missing = [name for name, _ in _FAMILIES if name not in there and (name != DCTThreshold.name or suits)]
    trained = [_TRAINED] if any(kind.needs is Needs.TRAINING for kind in kinds) else []
    return (*there, *trained), tuple(missing)


def over_what(report: Report) -> str:
    """Say over which attacks the worst case goes, and what it lacks."""
    there, missing = families(report)
    text = "The worst case is, for each image, the highest gain of any attack, whether it knew the defence or not"
    text += f": {', '.join(there)}." if there else "; the run has no attacks."
    if missing:
        text += f" Not in this run: {', '.join(missing)}; with them the worst case may be worse."
    if there and not report.plan.adaptive and set(report.metric.chains) != {UNDEFENDED}:
        text += " No attack knew a defence: one that does may gain more."
    return text


def _is_free(kind: type[Attack]) -> bool:
    return kind is FreeBest or (kind.needs is Needs.NOTHING and not kind.is_degradation)
