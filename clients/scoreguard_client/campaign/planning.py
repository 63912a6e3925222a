"""Turn options into a plan: query what is deployed, check the options against it, and say what executes the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scoreguard.v1.spec import parse_chain, parse_chains
from scoreguard_client._client import ScoringClient
from scoreguard_client._models import Catalogue, MetricDescription
from scoreguard_client.attacks.base import Attack
from scoreguard_client.attacks.catalogue import parse_attacks
from scoreguard_client.attacks.degraded.catalogue import campaign_copies
from scoreguard_client.campaign.endpoint import Endpoint
from scoreguard_client.campaign.extension import Base, with_known_images
from scoreguard_client.campaign.facts import MetricSources, facts_of, merged_facts
from scoreguard_client.campaign.options import CampaignOptions
from scoreguard_client.campaign.perceptual import PerceptualDistance, find_distance
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.planned_metric import PlannedMetric
from scoreguard_client.campaign.selection import (
    ALL,
    MessageLimits,
    chosen_metrics,
    within,
    written_out_attacks,
    written_out_defences,
)
from scoreguard_client.campaign.services import BatchCache, Services
from scoreguard_client.campaign.sweeps import parse_sweep, swept
from scoreguard_client.oracles.computing import Computation
from scoreguard_client.oracles.live import is_random
from scoreguard_client.target.chains import complete_chains
from scoreguard_client.target.companions import Companion, companion_source, companions_for, find_companion
from scoreguard_client.target.crafting import Crafter
from scoreguard_client.target.errors import PlanError
from scoreguard_client.target.gradients import computation_for, gradient_source, surrogate_for_attacks
from scoreguard_client.target.image_sets import ImageOptions, ImageReader, ImageSet, find_image_set
from scoreguard_client.target.images import LeftOut
from scoreguard_client.target.listed import PeopleOptions


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A plan, and what executes it."""

    plan: Plan
    """The plan."""
    facts: dict[str, Any]
    """What else a report needs, as JSON."""
    options: CampaignOptions
    """The options."""
    client: ScoringClient
    """The connection to the target."""
    sources: tuple[MetricSources, ...]
    """The metrics, in the plan's order."""
    companions: Mapping[str, Companion]
    """Other metrics that attacks need, by name."""
    computation: Computation
    """The device and settings of local gradients."""
    distance: PerceptualDistance | None
    """The perceptual distance to measure."""
    reader: ImageReader
    """Reads the images."""
    left_out: tuple[LeftOut, ...]
    """What could not be planned."""
    base: Base | None = None
    """The run that the plan extends; None = a new run, or the same one."""

    def services(self, cache: BatchCache) -> Services:
        """Return what executes the units of the plan."""
        return Services(
            endpoints={
                source.metric.name: Endpoint(self.client, source.metric.name, source.metric.archive_sha256)
                for source in self.sources
            },
            crafters={source.metric.name: self._crafter(source) for source in self.sources},
            read=self.reader.read,
            cache=cache,
            patience=self.options.patience,
            distance=self.distance,
        )

    def _crafter(self, source: MetricSources) -> Crafter:
        return Crafter(
            client=self.client,
            metric=source.metric,
            surrogate=source.surrogate,
            companions=self.companions,
            seed=self.plan.seed,
            draws=self.plan.crafting_draws,
            checkpoint=self.options.checkpoint,
            computation=self.computation,
        )


def prepare(options: CampaignOptions, client: ScoringClient, base: Base | None = None) -> Prepared:
    """Plan a campaign.

    Args:
        options: what to do.
        client: the connection to the target.
        base: the run to extend: the plan then has all of it, besides what the options ask for.

    Raises:
        PlanError: the options do not fit together, or do not fit the deployment.
        PlanMismatchError: the run cannot be extended so, because more differs than what is added.
        ServerError: the server is unreachable, or refuses this caller.
        ContractError: a chain cannot be read, or a surrogate or the device cannot be used.
    """
    catalogue = client.list_metrics()
    options = base.widened(options) if base else options
    metrics = chosen_metrics(options.metric, catalogue)
    texts, unused = written_out_attacks(
        options.attacks, lambda name: find_companion(name, options.surrogate, catalogue) is not None
    )
    attacks = tuple(attack.pinned() for attack in parse_attacks(texts))
    if options.degraded:
        attacks = tuple(dict.fromkeys([*attacks, *campaign_copies()]))
    sources = tuple(_sources(options, metric, attacks, catalogue, base) for metric in metrics)
    companions = companions_for(attacks, options.surrogate, catalogue)
    surrogates = [source.surrogate for source in sources if source.surrogate is not None]
    computation = computation_for(options.computing, surrogates[0] if surrogates else None)
    distance = find_distance(options.distance)
    images = _images(options, catalogue, client, base)
    plan = Plan(
        metrics=tuple(_planned(source, attacks, companions) for source in sources),
        attacks=tuple(str(attack) for attack in attacks),
        adaptive=options.adaptive,
        images=images.found.images,
        seed=options.seed,
        draws=options.draws,
        crafting_draws=options.crafting_draws,
        batch=options.batch,
        computation=str(computation),
        distance=distance.source if distance else "",
    )
    plan, idle = without_idle(attacks, plan, refuse=ALL not in options.attacks.replace(" ", "").split(","))
    left_out = (*unused, *idle, *images.found.left_out)
    facts = facts_of(plan, sources, catalogue, computation, left_out, images)
    if base:
        base.check(plan)
        facts = merged_facts(base.facts, facts)
    return Prepared(
        plan=plan,
        facts=facts,
        options=options,
        client=client,
        sources=sources,
        companions=companions,
        computation=computation,
        distance=distance,
        reader=images.reader,
        left_out=left_out,
        base=base,
    )


def _sources(
    options: CampaignOptions,
    metric: MetricDescription,
    attacks: Sequence[Attack],
    catalogue: Catalogue,
    base: Base | None,
) -> MetricSources:
    surrogate = surrogate_for_attacks(
        attacks, catalogue, metric=metric.name, gradients=options.gradients, surrogate=options.surrogate
    )
    known = base.labels(metric.name) if base else []
    asked = [options.defences] if options.defences or not known else []
    chains = parse_chains(written_out_defences(",".join([*known, *asked]), metric))
    varied = swept(map(parse_sweep, options.sweep), chains, metric)
    return MetricSources(metric=metric, chains=(*chains, *varied), surrogate=surrogate)


def _planned(source: MetricSources, attacks: Sequence[Attack], companions: Mapping[str, Companion]) -> PlannedMetric:
    metric, chains = source.metric, complete_chains(source.chains, source.metric)
    declared = metric.declared_range
    return PlannedMetric(
        name=metric.name,
        archive_sha256=metric.archive_sha256,
        range_low=declared.low,
        range_high=declared.high,
        higher_is_better=declared.higher_is_better,
        chains=chains,
        random_chains=tuple(chain for chain in chains if is_random(metric, parse_chain(chain))),
        gradients=gradient_source(attacks, source.surrogate),
        companions=tuple(companion_source(name, companion) for name, companion in companions.items()),
    )


def _images(options: CampaignOptions, catalogue: Catalogue, client: ScoringClient, base: Base | None) -> ImageSet:
    limits = MessageLimits.of(catalogue, client.config.max_message_bytes)
    people = PeopleOptions(column=options.mos_column, lower_is_better=options.mos_lower_is_better)
    images = find_image_set(options.images, ImageOptions(limit=options.limit, people=people, frames=options.frames))
    found = within(images.found, limits)
    if not found.images:
        raise PlanError(f"no image to attack; the first: {found.left_out[0].name}: {found.left_out[0].error}")
    if base:
        found = with_known_images(found, base.plan, images.reader)
    return replace(images, found=found, reader=images.reader.knowing(found.images))


def without_idle(attacks: tuple[Attack, ...], plan: Plan, *, refuse: bool) -> tuple[Plan, tuple[LeftOut, ...]]:
    """Return the plan without the attacks that work through none of its chains, and those attacks.

    Raises:
        PlanError: there is such an attack, and the caller named it.
    """
    at_work = {str(unit.attack) for unit in plan.units()}
    idle = [attack for attack in attacks if str(attack) not in at_work]
    if idle and refuse:
        name, wants = idle[0].name, idle[0].wants
        raise PlanError(f"attack {name!r} needs {wants}: add one to --defences, and give --adaptive")
    kept = tuple(text for text in plan.attacks if text in at_work)
    reasons = (LeftOut(name=attack.name, error=f"needs {attack.wants}, with --adaptive") for attack in idle)
    return replace(plan, attacks=kept), tuple(reasons)
