"""Which chains of a leaderboard can be told apart: ranks with intervals, and paired tests of every two chains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from scoreguard_client.report.tables.results import Images
from scoreguard_client.scores.comparisons import compare
from scoreguard_client.scores.ranking import Rank, ranks
from scoreguard_client.scores.scaling import Values

_LEVEL: Final = 0.05
_FEWEST: Final = 2
_NAMED: Final = 4
"""Most pairs that are named."""


def rank_texts(found: Mapping[str, Images]) -> dict[str, str]:
    """Return the rank of each chain by its worst gains, and the ranks that are possible; empty for a single chain."""
    values, names = _paired(found)
    if len(values) < _FEWEST or not names:
        return {}
    return {rank.chain: _text(rank) for rank in ranks(values, names)}


def pairs_text(found: Mapping[str, Images], labels: Mapping[str, str]) -> str:
    """Say how many pairs of chains differ in their worst gains, and which do not; empty for a single chain.

    Args:
        found: the images of each chain.
        labels: name of each chain for people.
    """
    values, names = _paired(found)
    if len(values) < _FEWEST or not names:
        return ""
    pairs = [pair for pair in compare(values, names) if np.isfinite(pair.flips)]
    alike = [f"{labels[pair.first]} and {labels[pair.second]}" for pair in pairs if pair.flips > _LEVEL]
    text = f" Pairs of defences that differ in their worst gains: {len(pairs) - len(alike)} of {len(pairs)}"
    text += f" (sign flips over {len(names)} images, 5 % after Holm)"
    if alike:
        more = f" and {len(alike) - _NAMED} more" if len(alike) > _NAMED else ""
        text += f"; not told apart: {', '.join(alike[:_NAMED])}{more}"
    return f"{text}."


def _paired(found: Mapping[str, Images]) -> tuple[dict[str, Values], list[str]]:
    """Return each chain's worst gains on the images that all chains have, and the names of these."""
    common = set.intersection(*(set(images.names) for images in found.values())) if found else set[str]()
    names = [name for name in next(iter(found.values())).names if name in common] if common else []
    values = {}
    for chain, images in found.items():
        places = {name: place for place, name in enumerate(images.names)}
        values[chain] = images.gain[[places[name] for name in names]]
    return values, names


def _text(rank: Rank) -> str:
    if rank.rank is None:
        return rank.note
    return f"{rank.rank} {rank.note}" if rank.low is None else f"{rank.rank} [{rank.low}, {rank.high}]"
