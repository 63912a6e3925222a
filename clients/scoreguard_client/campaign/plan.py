"""The plan of a campaign: everything that decides its records, as a value with a digest.

A run directory belongs to one plan. The plan contains the digests of the deployed archives but not the server's
address, because a resumed campaign may reach the same artifacts another way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from scoreguard.chain.devices import CPU
from scoreguard.support.digests import sha256_of
from scoreguard.v1.spec import UNDEFENDED, parse_chain
from scoreguard_client.attacks.base import Attack
from scoreguard_client.attacks.catalogue import parse_attack
from scoreguard_client.campaign.planned_metric import PlannedMetric
from scoreguard_client.campaign.records import CleanKey, RecordKey
from scoreguard_client.oracles.seeds import derive_seed
from scoreguard_client.target.images import ImageRef
from scoreguard_client.target.units import Unit


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a campaign does."""

    metrics: tuple[PlannedMetric, ...]
    """The attacked metrics."""
    attacks: tuple[str, ...]
    """Attacks in their text form, every parameter named; each is made against every metric."""
    adaptive: bool
    """Whether every attack also works through each chain, as an adaptive attack."""
    images: tuple[ImageRef, ...]
    """The images, by name."""
    seed: int
    """Seed for all randomness."""
    draws: int
    """Scores taken of each image behind a random defence, with fresh seeds."""
    crafting_draws: int
    """Draws per query while an attack works through a random defence (expectation over transformation); 0 = as many as
    the spread of each image's gradient requires (see `oracles.draws`), and one for score-based attacks."""
    batch: int
    """Maximum number of images attacked at once."""
    computation: str = CPU
    """Device and settings of local gradients, see `oracles.computing`: their last bits depend on it."""
    distance: str = ""
    """Perceptual distance that is measured, with the digest of its weights; empty = none."""

    def canonical_json(self) -> str:
        """Serialise the plan; equal plans give equal text."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, hexadecimal."""
        return sha256_of(self.canonical_json().encode())

    @staticmethod
    def from_json(text: str) -> Plan:
        """Read what `canonical_json` wrote."""
        stored: dict[str, Any] = json.loads(text)
        stored["metrics"] = tuple(PlannedMetric.from_stored(metric) for metric in stored["metrics"])
        stored["images"] = tuple(ImageRef(**image) for image in stored["images"])
        stored["attacks"] = tuple(stored["attacks"])
        return Plan(**{field.name: stored[field.name] for field in fields(Plan)})

    def metric(self, name: str) -> PlannedMetric:
        """Return the metric of that name; raises KeyError if it is not planned."""
        return self._by_name[name]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its metrics."""
        return tuple(metric.name for metric in self.metrics)

    def units(self) -> Iterator[Unit]:
        """Yield every unit of crafting, in execution order."""
        attacks = [parse_attack(text) for text in self.attacks]
        for images in self._groups():
            for metric in self.metrics:
                for attack in attacks:
                    for chain in self._attacked_through(metric, attack):
                        yield Unit(metric=metric.name, attack=attack, attacked_through=chain, images=images)

    def keys(self, unit: Unit) -> list[RecordKey]:
        """Keys of every record of a unit, image by image."""
        return [key for image in unit.images for key in self.keys_of(unit, image)]

    def keys_of(self, unit: Unit, image: ImageRef) -> list[RecordKey]:
        """Keys of every record of one image of a unit."""
        metric, attack, through = self.metric(unit.metric), str(unit.attack), unit.attacked_through
        # All chains, or only the one that an adaptive attack knows.
        behind = metric.chains if through == UNDEFENDED else (through,)
        return [
            RecordKey(metric.name, image.name, attack, through, chain, draw)
            for chain in behind
            for draw in range(self.draws_of(metric, chain))
        ]

    def clean_keys(self, metric: PlannedMetric, image: str) -> list[CleanKey]:
        """Keys of every clean score of an image, given by its name."""
        return [
            CleanKey(metric.name, image, chain, draw)
            for chain in metric.scored_clean
            for draw in range(self.draws_of(metric, chain))
        ]

    @property
    def clean_scores(self) -> int:
        """How many clean scores a finished run has."""
        each = (self.draws_of(metric, chain) for metric in self.metrics for chain in metric.scored_clean)
        return len(self.images) * sum(each)

    @property
    def records(self) -> int:
        """How many records a finished run has."""
        return sum(map(self.records_of, self.names))

    def records_of(self, metric: str) -> int:
        """How many records of a metric a finished run has."""
        units = (unit for unit in self.units() if unit.metric == metric)
        return sum(len(unit.images) * len(self.keys_of(unit, unit.images[0])) for unit in units)

    def draws_of(self, metric: PlannedMetric, chain: str) -> int:
        """Return the scores taken of an image behind a chain: one if the chain is deterministic."""
        return self.draws if chain in metric.random_chains else 1

    def seed_of(self, key: RecordKey | CleanKey) -> int:
        """Derive the seed of a score; a record's differs from the clean image's.

        Paired randomness would flatter random defences.
        """
        return derive_seed(self.seed, *key.seed_parts)

    @cached_property
    def _by_name(self) -> dict[str, PlannedMetric]:
        return {metric.name: metric for metric in self.metrics}

    def _attacked_through(self, metric: PlannedMetric, attack: Attack) -> list[str]:
        # What asks nothing would do the same to an image through every chain.
        adapts = self.adaptive and attack.needs.asks
        chains = [UNDEFENDED, *(chain for chain in metric.chains if adapts and chain != UNDEFENDED)]
        return [chain for chain in chains if attack.fits(parse_chain(chain))]

    def _groups(self) -> Iterator[tuple[ImageRef, ...]]:
        sizes: dict[tuple[int, int], list[ImageRef]] = {}
        for image in self.images:
            sizes.setdefault((image.height, image.width), []).append(image)
        for images in sizes.values():
            for start in range(0, len(images), self.batch):
                yield tuple(images[start : start + self.batch])
