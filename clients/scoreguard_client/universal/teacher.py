"""Gradient sources of a training: a local archive, the live endpoint, or any oracle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from scoreguard.v1.archive import Archive
from scoreguard.v1.spec import format_chain, parse_chain
from scoreguard_client._client import ScoringClient
from scoreguard_client._models import MetricDescription
from scoreguard_client.oracles.arrays import Put, unchanged
from scoreguard_client.oracles.base import GradientOracle, Gradients, Images, OracleFacts, Scores
from scoreguard_client.oracles.computing import ON_CPU, Computation
from scoreguard_client.oracles.live import LiveGradientOracle
from scoreguard_client.oracles.live import facts_of as live_facts
from scoreguard_client.target.gradients import identity_of


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A source of gradients whose draws depend only on a seed, so that a resumed training gets the same ones."""

    source: str
    """Its name in the recipe."""
    facts: OracleFacts
    """Range and direction of the metric."""
    chain: str
    """The defences before it, in their text form."""
    draws: int
    """Draws per query through a random chain."""
    ask: Callable[[Images, int], tuple[Scores, Gradients]]
    """Returns scores and gradients of a batch; the number is the seed of its draws."""
    beyond: bool = True
    """Whether images beyond [0, 1] can be queried."""
    put: Put = unchanged
    """Copies an array to where the gradients are computed."""
    settings: Callable[[], AbstractContextManager[None]] = nullcontext
    """Computes a block as the gradients are computed, so that a learner's steps repeat as they do."""
    computation: Computation = ON_CPU
    """Device and settings of local gradients."""
    unrepeatable: Callable[[], Sequence[str]] = tuple
    """Names the operations that ran without a deterministic kernel so far."""


def local_teacher(
    archive: Archive, chain: str = "none", *, draws: int = 1, computation: Computation = ON_CPU
) -> Teacher:
    """Make a teacher from the graphs of an archive, in this process.

    Raises:
        MissingExtraError: torch is not installed.
        ContractError: the archive cannot be read, or the chain is invalid.
        SurrogateError: the archive lacks a defence of the chain.
    """
    steps = parse_chain(chain)
    oracle = computation.oracle(archive, steps, draws=draws)

    def ask(images: Images, seed: int) -> tuple[Scores, Gradients]:
        return oracle.with_seed(seed).gradient(images)

    return Teacher(
        source=f"local:{identity_of(archive)}",
        facts=oracle.facts,
        chain=format_chain(steps),
        draws=draws,
        ask=ask,
        put=oracle.to_device,
        settings=oracle.settings,
        computation=computation,
        unrepeatable=lambda: oracle.unrepeatable,
    )


def live_teacher(client: ScoringClient, metric: MetricDescription, chain: str = "none", *, draws: int = 1) -> Teacher:
    """Make a teacher from the endpoint's GradientService.

    Raises:
        ContractError: the text is not a chain.
    """
    steps = parse_chain(chain)

    def ask(images: Images, seed: int) -> tuple[Scores, Gradients]:
        return LiveGradientOracle(client, metric, steps, seed=seed, draws=draws).gradient(images)

    return Teacher(
        source=f"live:{metric.name}:{metric.archive_sha256}",
        facts=live_facts(metric),
        chain=format_chain(steps),
        draws=draws,
        ask=ask,
        beyond=False,
    )


def oracle_teacher(oracle: GradientOracle, name: str = "oracle") -> Teacher:
    """Make a teacher from any deterministic oracle."""
    facts = oracle.facts
    return Teacher(source=name, facts=facts, chain="none", draws=1, ask=lambda images, _: oracle.gradient(images))
