"""The best known attack behind each chain: of the run's own attacks and of every challenge within its budget.

An image that a challenge does not have, or has outside its budget, counts with a gain of 0, since whoever makes the
images may always leave one as it is. So a challenge on chosen images is not ahead of one on all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scoreguard_client.attacks.base import Direction
from scoreguard_client.attacks.catalogue import kind_of, parse_attack
from scoreguard_client.campaign.external import external_of, is_reliable
from scoreguard_client.campaign.ledger import Ledger
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.planned_metric import PlannedMetric
from scoreguard_client.campaign.records import Record
from scoreguard_client.report.naming import attack_names
from scoreguard_client.report.table import sound
from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.estimates import Estimate, mean_estimate
from scoreguard_client.target.images import unit_of

_Group = tuple[str, bool]
"""An attack, and whether it knew the chain."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A challenge and the best of all others behind one chain."""

    metric: str
    """The metric."""
    chain: str
    """The chain in its text form."""
    label: str
    """The chain as the user wrote it."""
    best: str
    """Name of the best other attack or challenge in prose; empty if there is none."""
    best_gain: Estimate | None
    """Its mean gain, as a share of the metric's range, in the direction of the challenge; None if there is none."""
    gain: Estimate
    """Mean gain of the challenge over all images of the run."""
    images: int
    """Images whose gain counts."""

    @property
    def is_best(self) -> bool:
        """Whether the challenge is the best known attack now."""
        return self.images > 0 and (self.best_gain is None or self.gain.value > self.best_gain.value)


def standings_of(run: Path, name: str) -> list[Standing]:
    """Compare a challenge with all else that is known, behind each chain that it was scored behind.

    Args:
        run: the run directory.
        name: who made the challenge.

    Raises:
        RunError: there is no run, or it cannot be read.
    """
    with Ledger.open(run) as ledger:
        plan, facts, records, external = ledger.plan, ledger.facts, ledger.records(), ledger.external()
    mine = [record for record in external if external_of(record.attack).by == name]
    texts = dict.fromkeys(record.attack for record in external)
    names, directions = attack_names([*plan.attacks, *texts]), {r.attack: _direction(r.attack) for r in mine}
    others = [record for record in external if record.attack not in directions]
    return [
        _Place(
            plan=plan,
            metric=metric,
            chain=chain,
            label=facts["metrics"][metric.name]["labels"].get(chain, chain),
            names=names,
            direction=next(iter(directions.values())),
        ).standing(here, _at(records, metric.name, chain), _at(others, metric.name, chain))
        for metric in plan.metrics
        for chain in metric.chains
        if (here := _at(mine, metric.name, chain))
    ]


def _at(records: Iterable[Record], metric: str, chain: str) -> list[Record]:
    return [sound(record) for record in records if record.metric == metric and record.chain == chain]


def _direction(attack: str) -> Direction:
    return parse_attack(attack).direction


@dataclass(frozen=True, kw_only=True)
class _Place:
    """One chain before one metric."""

    plan: Plan
    metric: PlannedMetric
    chain: str
    label: str
    names: Mapping[str, str]
    direction: Direction

    def standing(self, mine: Sequence[Record], own: Sequence[Record], others: Sequence[Record]) -> Standing:
        """Compare the records of a challenge with those of the run, and of other challenges."""
        known = {group: self._mean(self._gains(found)) for group, found in self._groups(own).items()}
        known |= {group: self._over_all(self._gains(found)) for group, found in self._groups(others).items()}
        best = max(known, key=lambda group: known[group].value, default=None)
        gains = self._gains([record for record in mine if is_reliable(record)])
        return Standing(
            metric=self.metric.name,
            chain=self.chain,
            label=self.label,
            best=self.names[best[0]] + ", adaptive" * best[1] if best else "",
            best_gain=known[best] if best else None,
            gain=self._over_all(gains),
            images=len(gains),
        )

    def _groups(self, records: Sequence[Record]) -> dict[_Group, list[Record]]:
        groups: dict[_Group, list[Record]] = {}
        for record in records:
            # A degraded copy is no attack.
            is_attack = not kind_of(record.attack).is_degradation
            if is_reliable(record) and is_attack and _direction(record.attack) is self.direction:
                groups.setdefault((record.attack, record.adaptive), []).append(record)
        return groups

    def _gains(self, records: Sequence[Record]) -> dict[str, float]:
        """Mean gain of each image over its draws."""
        scale, sign = self.metric.declared, -1.0 if self.direction is Direction.DOWN else 1.0
        gains: dict[str, list[float]] = {}
        for record in records:
            pair = np.array([record.clean_defended, record.attacked_defended], dtype=np.float64)
            clean, attacked = scale.scale(pair)
            gains.setdefault(record.image, []).append(sign * float(attacked - clean))
        return {image: float(np.mean(values)) for image, values in gains.items()}

    def _over_all(self, gains: Mapping[str, float]) -> Estimate:
        return self._mean({image.name: gains.get(image.name, 0.0) for image in self.plan.images})

    def _mean(self, gains: Mapping[str, float]) -> Estimate:
        return mean_estimate(np.array(list(gains.values())), Clusters([unit_of(image) for image in gains]))
