"""Over which attacks a worst case goes, in words, and which are missing: it may be worse with those."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from scoreguard.v1.spec import UNDEFENDED, parse_chain
from scoreguard_client.attacks.auto import Auto
from scoreguard_client.attacks.base import Attack, Needs
from scoreguard_client.attacks.catalogue import kind_of
from scoreguard_client.attacks.dct_threshold import DCTThreshold
from scoreguard_client.attacks.free.base import FreeEdit
from scoreguard_client.attacks.free.best import FreeBest
from scoreguard_client.report.build import Report

EVERYDAY: Final = "everyday edits"
"""What anybody can do without gradients."""
_FAMILIES: Final[tuple[tuple[str, Callable[[type[Attack]], bool]], ...]] = (
    ("gradient attacks", lambda kind: kind.needs is Needs.GRADIENT),
    (DCTThreshold.name, lambda kind: issubclass(kind, DCTThreshold | Auto)),
    ("query attacks", lambda kind: issubclass(kind, Auto) or (kind.needs is Needs.SCORES and kind is not FreeBest)),
    (EVERYDAY, lambda kind: is_everyday(kind)),
)
_TRAINED: Final = "trained perturbations"


def is_everyday(kind: type[Attack]) -> bool:
    """Whether attacks of a kind are everyday edits, or the best of them; images that somebody submits need not be."""
    return issubclass(kind, FreeEdit | FreeBest)


def families(report: Report) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the kinds of attacks that count, and the families that are missing although they suit one of the chains.

    An attack of no family counts under its own title.
    """
    texts = dict.fromkeys([*report.plan.attacks, *(record.attack for record in report.attacked)])
    kinds = [kind for kind in map(kind_of, texts) if not kind.is_degradation]
    there = {name: None for name, holds in _FAMILIES if any(map(holds, kinds))}
    suits = any(DCTThreshold.fits(parse_chain(chain)) for chain in report.metric.chains)
    missing = [name for name, _ in _FAMILIES if name not in there and (name != DCTThreshold.name or suits)]
    others = (kind for kind in kinds if not any(holds(kind) for _, holds in _FAMILIES))
    there |= dict.fromkeys(_TRAINED if kind.needs is Needs.TRAINING else kind.title for kind in others)
    return tuple(there), tuple(missing)


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
