"""Who answers an attack: the live endpoint for scores, a local surrogate or the endpoint for gradients."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from scoreguard.v1.archive import Archive, sha256_of
from scoreguard.v1.spec import parse_chain
from scoreguard_client._client import ScoringClient
from scoreguard_client._models import MetricDescription
from scoreguard_client.attacks.base import Attack, Needs
from scoreguard_client.attacks.catalogue import parse_attack
from scoreguard_client.campaign.gallery import CraftedBatch
from scoreguard_client.campaign.plan import Plan, Unit
from scoreguard_client.oracles.base import Images, ScoreOracle
from scoreguard_client.oracles.live import LiveGradientOracle, LiveScoreOracle
from scoreguard_client.oracles.local import LocalOracle

LIVE: Final = "live"
UNUSED: Final = "unused"


def gradient_source(attacks: Sequence[Attack], surrogate: Archive | None) -> str:
    """How a plan names where gradients come from."""
    if not any(attack.needs is Needs.GRADIENT for attack in attacks):
        return UNUSED
    if surrogate is None:
        return LIVE
    manifest = sha256_of(surrogate.manifest.SerializeToString(deterministic=True))
    return f"local:{surrogate.name}:{manifest}"


@dataclass(kw_only=True)
class Crafter:
    """Runs the attacks of a plan."""

    plan: Plan
    """The plan."""
    client: ScoringClient
    """The connection to the endpoint."""
    metric: MetricDescription
    """The deployed metric."""
    surrogate: Archive | None
    """The archive for gradients; None takes them from the endpoint."""
    _loaded: dict[str, LocalOracle] = field(default_factory=dict)

    def craft(self, unit: Unit, images: Images) -> CraftedBatch:
        """Attack the pictures of a unit; the same unit gives the same pictures whatever was done before.

        Raises:
            ScoreguardError: the attack or its oracle failed.
            ContractError: the surrogate's archive cannot be used.
        """
        attack, started = parse_attack(unit.attack), time.perf_counter()
        oracle = self._oracle(attack, unit)
        seeds = [self.plan.seed_for("attack", unit.attack, unit.crafting, image.sha256) for image in unit.images]
        result = attack(images, oracle, seeds=seeds)
        return CraftedBatch(
            attacked=result.attacked,
            attacked_8bit=result.attacked_8bit,
            scores=result.scores,
            queries=result.queries,
            seconds=time.perf_counter() - started,
        )

    def _oracle(self, attack: Attack, unit: Unit) -> ScoreOracle:
        seed = self.plan.seed_for("oracle", unit.key)
        if attack.needs is Needs.GRADIENT and self.surrogate is not None:
            return self._local(self.surrogate, unit.crafting).with_seed(seed)
        kind = LiveGradientOracle if attack.needs is Needs.GRADIENT else LiveScoreOracle
        chain, draws = parse_chain(unit.crafting), self.plan.crafting_draws
        return kind(self.client, self.metric, chain, seed=seed, draws=draws)

    def _local(self, surrogate: Archive, chain: str) -> LocalOracle:
        if chain not in self._loaded:
            self._loaded[chain] = LocalOracle(surrogate, parse_chain(chain), draws=self.plan.crafting_draws)
        return self._loaded[chain]
