"""Run an attack: the live endpoint gives the scores, a local surrogate or the endpoint the gradients."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from scoreguard.v1.archive import Archive
from scoreguard.v1.spec import UNDEFENDED, parse_chain
from scoreguard_client._client import ScoringClient
from scoreguard_client._models import MetricDescription
from scoreguard_client.attacks.base import AttackResult, Needs
from scoreguard_client.attacks.session import Counts
from scoreguard_client.oracles.base import DrawingOracle, Images, ScoreOracle
from scoreguard_client.oracles.computing import ON_CPU, Computation
from scoreguard_client.oracles.draws import AUTO, draws_needed
from scoreguard_client.oracles.live import LiveGradientOracle, LiveScoreOracle
from scoreguard_client.oracles.local import LocalOracle
from scoreguard_client.oracles.seeds import derive_seed
from scoreguard_client.target.companions import Companion
from scoreguard_client.target.units import Unit


@dataclass(frozen=True, kw_only=True)
class CraftedBatch:
    """The attacked images of a unit."""

    result: AttackResult
    """The attack's result; its queries include those spent on choosing the number of draws."""
    seconds: float
    """Wall time for the batch."""


@dataclass(kw_only=True)
class Crafter:
    """Runs attacks on a deployed metric, or on a local archive of it."""

    client: ScoringClient
    """The connection to the endpoint."""
    metric: MetricDescription
    """The deployed metric."""
    surrogate: Archive | None
    """The archive for gradients; None = the endpoint gives them."""
    companions: Mapping[str, Companion]
    """Other metrics that attacks need, by name."""
    seed: int
    """Seed of the attacks and the oracles."""
    draws: int = 1
    """Draws per query of an attack through a random chain; `AUTO` = as many as each image's gradient needs."""
    checkpoint: bool = False
    """Whether to compute local gradients in the memory of one step of the chain."""
    computation: Computation = ON_CPU
    """The device and settings of local gradients."""
    _loaded: dict[tuple[str, str], LocalOracle] = field(default_factory=dict)

    def craft(self, unit: Unit, images: Images) -> CraftedBatch:
        """Attack the images of a unit; an image's result depends neither on its batch nor on earlier work.

        Raises:
            ScoreguardError: the attack or its oracle failed.
            ContractError: the surrogate's archive cannot be used.
        """
        attack, started = unit.attack, time.perf_counter()
        companions = {name: self._companion(self.companions[name]) for name in attack.companions}
        oracle, spent = self._with_draws(self._oracle(unit), images)
        result = attack(images, oracle, seeds=self._seeds("attack", unit), companions=companions)
        result = replace(result, queries=result.queries + spent)
        return CraftedBatch(result=result, seconds=time.perf_counter() - started)

    @property
    def unrepeatable(self) -> tuple[str, ...]:
        """Operations of local gradients that ran without a deterministic kernel so far, in alphabetical order."""
        return tuple(sorted({name for oracle in self._loaded.values() for name in oracle.unrepeatable}))

    def _seeds(self, purpose: str, unit: Unit) -> list[int]:
        work = (purpose, str(unit.attack), unit.attacked_through)
        return [derive_seed(self.seed, *work, image.sha256) for image in unit.images]

    def _oracle(self, unit: Unit) -> ScoreOracle:
        seeds, chain = self._seeds("oracle", unit), unit.attacked_through
        if unit.attack.needs is Needs.GRADIENT and self.surrogate is not None:
            return self._local(self.surrogate, chain).with_seed(seeds)
        kind = LiveGradientOracle if unit.attack.needs is Needs.GRADIENT else LiveScoreOracle
        return kind(self.client, self.metric, parse_chain(chain), seed=seeds, draws=self._fixed_draws)

    def _with_draws(self, oracle: ScoreOracle, images: Images) -> tuple[ScoreOracle, Counts]:
        """Return the oracle with each image's number of draws, if the plan leaves it open, and the calls spent."""
        if self.draws != AUTO or not isinstance(oracle, DrawingOracle):
            return oracle, np.zeros(len(images), dtype=np.int64)
        needed = draws_needed(oracle, images)
        return oracle.with_draws(needed.draws), np.array(needed.calls, dtype=np.int64)

    @property
    def _fixed_draws(self) -> int:
        # A score-based search has no gradient whose spread could be measured, and pays for every draw: one.
        return 1 if self.draws == AUTO else self.draws

    def _companion(self, companion: Companion) -> ScoreOracle:
        if isinstance(companion, Archive):
            return self._local(companion, UNDEFENDED)
        return LiveScoreOracle(self.client, companion)

    def _local(self, archive: Archive, chain: str) -> LocalOracle:
        key = (archive.name, chain)
        if key not in self._loaded:
            self._loaded[key] = self.computation.oracle(
                archive, parse_chain(chain), draws=self._fixed_draws, checkpoint=self.checkpoint
            )
        return self._loaded[key]
