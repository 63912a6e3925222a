"""Rank inversions: how often an attacked poor image outranks a clean better one.

    share of (poor, better) pairs with f(g(poor')) > f(g(better))

This is what an attack is for where scores rank entries: a gain matters if it passes somebody. Which of two images is
the better one is decided by people's scores where there are any, else by the clean scores; pairs nearer to each other
than a stated gap are left out, since their order is not known. Equal scores count half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.errors import ScoresError
from scoreguard_client.scores.estimates import Estimate, undefined
from scoreguard_client.scores.scaling import Values
from scoreguard_client.scores.shares import pair_share_estimate

_CELLS: Final = 500_000
"""Pairs of rows compared at once."""


@dataclass(frozen=True, kw_only=True)
class RankInversions:
    """How often poor images outranked better ones."""

    attacked: Estimate
    """Share of the pairs in which the attacked poor image outranks the clean better one."""
    clean: Estimate
    """The same before the attack: what the chain gets wrong by itself. 0 where clean scores define the pairs."""
    pairs: int
    """Pairs of images whose qualities are at least the gap apart."""
    gap: float
    """The least difference of quality, in its own units."""


def rank_inversions(
    clean: Values, attacked: Values, images: Sequence[str], *, gap: float, quality: Values | None = None
) -> RankInversions:
    """Count the pairs of images that an attack brings into the wrong order.

    Args:
        clean: served score of the clean image of each row, higher is better: (rows,).
        attacked: served score of its attacked copy: (rows,).
        images: name of the image of each row; an image may have several rows, such as draws of a random defence.
        gap: the least difference of quality of a pair, above 0, in units of `quality`.
        quality: people's score of the image of each row, higher is better; by default the image's mean clean score.

    Returns:
        Shares with intervals over images; undefined if a number is not finite or no pair is far enough apart, missing
        if there are fewer than three images.

    Raises:
        ScoresError: the gap is not above 0, there are no rows, or the lengths differ.
    """
    _require_rows(clean, attacked, images, quality)
    if not gap > 0:
        raise ScoresError(f"the gap between a poor and a better image must be above 0, not {gap:g}")
    clusters = Clusters(images)
    numbers = [clean, attacked] if quality is None else [clean, attacked, quality]
    bad = np.asarray(~np.isfinite(numbers).all(axis=0))
    if bad.any():
        nothing = undefined(clusters.holding(bad))
        return RankInversions(attacked=nothing, clean=nothing, pairs=0, gap=gap)
    means = clusters.sums(clean if quality is None else quality) / clusters.sizes
    after, as_poor, as_better = _inverted(attacked, clean, means, gap, clusters)
    before, _, _ = _inverted(clean, clean, means, gap, clusters)
    return RankInversions(
        attacked=pair_share_estimate(after, as_poor, as_better),
        clean=pair_share_estimate(before, as_poor, as_better),
        pairs=int(as_poor.sum()),
        gap=gap,
    )


def inversions_by_budget(
    clean: Values,
    attacked: Mapping[float, Values],
    images: Sequence[str],
    *,
    gap: float,
    quality: Values | None = None,
) -> dict[float, RankInversions]:
    """Count inversions for each budget, the smallest first; see `rank_inversions`.

    Args:
        clean: served score of the clean image of each row: (rows,).
        attacked: served scores of the attacked copies by budget, each (rows,).
        images: name of the image of each row.
        gap: the least difference of quality of a pair.
        quality: people's score of the image of each row.
    """
    return {
        budget: rank_inversions(clean, attacked[budget], images, gap=gap, quality=quality)
        for budget in sorted(attacked)
    }


def _inverted(
    poor: Values, better: Values, quality: Values, gap: float, clusters: Clusters
) -> tuple[Values, Values, Values]:
    """Pairs in the wrong order that each image is part of, pairs as the poor one, and as the better: (images,) each.

    Args:
        poor: score that a row has as the poor one of a pair: (rows,).
        better: score that it has as the better one: (rows,).
        quality: of each image: (images,).
        gap: the least difference of quality.
        clusters: the image of each row; the rows of two images make one pair, which may be in the wrong order in part.
    """
    poor, better = poor[clusters.order], better[clusters.order]
    firsts, count = clusters.firsts, clusters.count
    won, as_poor, as_better = (np.zeros(count) for _ in range(3))
    held = max(1, int(_CELLS * count / len(poor) ** 2))
    for start in range(0, count, held):
        stop = min(start + held, count)
        rows = poor[firsts[start] : firsts[stop], None]
        above = (rows > better) + 0.5 * (rows == better)
        above = np.add.reduceat(np.add.reduceat(above, firsts[:-1], axis=1), firsts[start:stop] - firsts[start], axis=0)
        apart = quality[None, :] - quality[start:stop, None] >= gap
        share = np.where(apart, above / (clusters.sizes[start:stop, None] * clusters.sizes), 0.0)
        won[start:stop] += share.sum(axis=1)
        won += share.sum(axis=0)
        as_poor[start:stop] = apart.sum(axis=1)
        as_better += apart.sum(axis=0)
    return won, as_poor, as_better


def _require_rows(clean: Values, attacked: Values, images: Sequence[str], quality: Values | None) -> None:
    lengths = {len(clean), len(attacked), len(images), *([] if quality is None else [len(quality)])}
    if lengths == {0}:
        raise ScoresError("rank inversions need at least one row")
    if len(lengths) > 1:
        raise ScoresError(
            f"rank inversions need one entry for each row everywhere, not {min(lengths)} and {max(lengths)}"
        )
