"""Order violations: how often a chain prefers a degraded copy of an image to the image itself.

    share of (image, copy) pairs with f(g(copy)) > f(g(image)),  scores oriented so that higher is better

The order is known without asking people: a blurred, noisy or compressed copy is not the better of the two. A chain that
lowers attacks' gains by answering at random, or with nearly the same score for everything, shows here. Equal scores are
no violation and are counted apart: a constant score has ties only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.errors import ScoresError
from scoreguard_client.scores.estimates import Estimate, undefined
from scoreguard_client.scores.scaling import Values
from scoreguard_client.scores.shares import share_estimate


@dataclass(frozen=True, kw_only=True)
class OrderViolations:
    """How often copies were preferred to their images."""

    violations: Estimate
    """Share of the pairs in which the copy has the higher score, with an interval over images."""
    ties: Estimate
    """Share of the pairs whose scores are equal."""
    pairs: int
    """Pairs."""
    images: int
    """Images that the pairs are of."""


@dataclass(frozen=True, kw_only=True)
class OrderTable:
    """Order violations of one chain."""

    overall: OrderViolations
    """Of all pairs."""
    by_degradation: dict[str, OrderViolations]
    """Of each degradation, all strengths together; in the order of first appearance."""
    by_strength: dict[tuple[str, int], OrderViolations]
    """Of each degradation and strength, in the order of first appearance."""


def order_violations(originals: Values, copies: Values, images: Sequence[str]) -> OrderViolations:
    """Count the pairs in which the degraded copy is preferred.

    Args:
        originals: score of the image of each pair, higher is better: (pairs,).
        copies: score of its degraded copy: (pairs,).
        images: name of the image of each pair; pairs of one image are not independent.

    Returns:
        Shares with intervals; undefined if a score is not finite, missing if there are fewer than three images.

    Raises:
        ScoresError: there are no pairs, or the lengths differ.
    """
    _require_pairs(originals, copies, images)
    clusters = Clusters(images)
    bad = ~(np.isfinite(originals) & np.isfinite(copies))
    if bad.any():
        nothing = undefined(clusters.holding(bad))
        return OrderViolations(violations=nothing, ties=nothing, pairs=len(images), images=clusters.count)
    return OrderViolations(
        violations=share_estimate(copies > originals, clusters),
        ties=share_estimate(copies == originals, clusters),
        pairs=len(images),
        images=clusters.count,
    )


def order_table(
    originals: Values, copies: Values, images: Sequence[str], degradations: Sequence[str], strengths: Sequence[int]
) -> OrderTable:
    """Count violations over all pairs, for each degradation, and for each of its strengths.

    Args:
        originals: score of the image of each pair, higher is better: (pairs,).
        copies: score of its degraded copy: (pairs,).
        images: name of the image of each pair.
        degradations: name of the degradation of each pair.
        strengths: strength of the degradation of each pair.

    Raises:
        ScoresError: there are no pairs, or the lengths differ.
    """
    _require_pairs(originals, copies, images, degradations, strengths)

    def of(rows: npt.NDArray[np.bool_]) -> OrderViolations:
        named = [image for image, chosen in zip(images, rows.tolist(), strict=True) if chosen]
        return order_violations(originals[rows], copies[rows], named)

    kinds, levels = np.array(degradations), np.array(strengths)
    cells = dict.fromkeys(zip(degradations, strengths, strict=True))
    return OrderTable(
        overall=order_violations(originals, copies, images),
        by_degradation={name: of(kinds == name) for name in dict.fromkeys(degradations)},
        by_strength={(name, level): of((kinds == name) & (levels == level)) for name, level in cells},
    )


def _require_pairs(first: Values, *others: Values | Sequence[object]) -> None:
    lengths = sorted({len(first), *map(len, others)})
    if lengths[0] == 0:
        raise ScoresError("order violations need at least one pair of an image and a degraded copy")
    if len(lengths) > 1:
        raise ScoresError(
            f"order violations need one entry for each pair everywhere, not {lengths[0]} and {lengths[-1]}"
        )
