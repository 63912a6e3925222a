"""Turn options into a running campaign: query what is deployed, check it, and fix it in a plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from scoreguard.v1.archive import Archive
from scoreguard.v1.spec import UNDEFENDED, format_chain, parse_chain, parse_chains
from scoreguard_client._client import ScoringClient
from scoreguard_client._models import Catalogue, MetricDescription
from scoreguard_client.attacks.base import Attack
from scoreguard_client.attacks.catalogue import parse_attacks
from scoreguard_client.campaign.endpoint import Endpoint
from scoreguard_client.campaign.gallery import Gallery
from scoreguard_client.campaign.perceptual import find_distance
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.runner import (
    PATIENCE_SECONDS,
    Runner,
    Summary,
    draws_by_chain,
    expected_records,
)
from scoreguard_client.campaign.selection import ALL, MessageLimits, within, written_out_attacks, written_out_defences
from scoreguard_client.campaign.store import Store
from scoreguard_client.oracles.computing import DEFAULTS, Computing
from scoreguard_client.progress import Progress
from scoreguard_client.target.chains import complete_chains
from scoreguard_client.target.companions import companion_source, companions_for, find_companion
from scoreguard_client.target.crafting import Crafter
from scoreguard_client.target.errors import PlanError
from scoreguard_client.target.gradients import Gradients, computation_for, gradient_source, surrogate_for_attacks
from scoreguard_client.target.images import FoundImages, LeftOut, find_images

_NOT_EXACT: Final = ("straight_through", "bpda_identity")
SHOWN_IMAGES: Final = 3
"""Images of a campaign that are kept for the report."""


@dataclass(frozen=True, kw_only=True)
class CampaignOptions:
    """The user's options."""

    metric: str = ""
    """Name of a deployed metric; empty = the only one."""
    attacks: str = "fgsm,ifgsm"
    """Attacks, separated by commas: `fgsm,ifgsm:eps=8/255`; `all` = every attack that needs no file."""
    defences: str = UNDEFENDED
    """Chains, separated by commas: `none,jpeg:quality=50,blur+jpeg`; `all` = `none` and every deployed defence."""
    images: Path
    """Folder of clean images."""
    out: Path
    """Run directory."""
    adaptive: bool = False
    """Whether every attack also works through each chain."""
    gradients: Gradients | None = None
    """Source of gradients; None = local if there is a surrogate, else live."""
    surrogate: Path | None = None
    """Archive or model store; None = `model_store` if present."""
    limit: int | None = None
    """Use at most this many images, in name order; None = all."""
    seed: int = 0
    """Seed for all randomness."""
    draws: int = 1
    """Scores taken of each image behind a random defence."""
    crafting_draws: int = 1
    """Draws per query of an attack through a random defence; 0 = as many as each image's gradient needs."""
    batch: int = 8
    """Maximum number of images attacked at once."""
    checkpoint: bool = False
    """Whether to compute local gradients in the memory of one step of the chain."""
    computing: Computing = DEFAULTS
    """Device and settings of local gradients."""
    patience: float = PATIENCE_SECONDS
    """Seconds to wait for an unreachable server."""
    keep_all: bool = False
    """Whether to keep all attacked images, not only those shown in the report."""
    distance: str = ""
    """Perceptual distance to measure, see `perceptual.find_distance`; empty = none."""


def launch(options: CampaignOptions, client: ScoringClient, progress_for: Callable[[Runner], Progress]) -> Summary:
    """Run or resume a campaign.

    Args:
        options: what to do.
        client: the connection to the target.
        progress_for: called once the plan is fixed; returns the progress callback.

    Raises:
        PlanError: the options do not fit together, or do not fit the deployment.
        PlanMismatchError: the run directory belongs to another plan.
        ServerError: the server is unreachable, or refuses this caller; finished work is kept.
        ContractError: a chain cannot be read, or the surrogate or the device cannot be used.
    """
    catalogue = client.list_metrics()
    metric = catalogue.metric(options.metric)
    options = replace(options, metric=metric.name, defences=written_out_defences(options.defences, metric))
    texts, unused = written_out_attacks(
        options.attacks, lambda name: find_companion(name, options.surrogate, catalogue) is not None
    )
    attacks = tuple(attack.pinned() for attack in parse_attacks(texts))
    chains = parse_chains(options.defences)
    surrogate = surrogate_for_attacks(
        attacks, catalogue, metric=metric.name, gradients=options.gradients, surrogate=options.surrogate
    )
    companions = companions_for(attacks, options.surrogate, catalogue)
    computation = computation_for(options.computing, surrogate)
    distance = find_distance(options.distance)
    found = _images(options, catalogue, client)
    plan = Plan(
        metric=metric.name,
        archive_sha256=metric.archive_sha256,
        attacks=tuple(str(attack) for attack in attacks),
        chains=complete_chains(chains, metric),
        adaptive=options.adaptive,
        gradients=gradient_source(attacks, surrogate),
        companions=tuple(companion_source(name, companion) for name, companion in companions.items()),
        images=found.images,
        seed=options.seed,
        draws=options.draws,
        crafting_draws=options.crafting_draws,
        batch=options.batch,
        computation=str(computation),
        distance=distance.source if distance else "",
    )
    plan, idle = without_idle(attacks, plan, refuse=ALL not in options.attacks.replace(" ", "").split(","))
    left_out = (*unused, *idle, *found.left_out)
    shown = [image.name for image in found.images[:SHOWN_IMAGES]]
    draws = draws_by_chain(plan, metric)
    facts = _facts(metric, catalogue, surrogate) | {
        "computation": computation.record(),
        "shown": shown,
        "labels": {complete_chains([chain], metric)[0]: format_chain(chain) for chain in chains},
        "expected": expected_records(plan, draws),
        "left_out": [asdict(entry) for entry in left_out],
        "rounding": [chain for chain in plan.chains if rounds(chain, metric)],
    }
    with Store.create(options.out, plan, facts) as store:
        runner = Runner(
            plan=plan,
            store=store,
            gallery=Gallery(options.out, shown, options.keep_all),
            endpoint=Endpoint(client, metric.name),
            crafter=Crafter(
                client=client,
                metric=metric,
                surrogate=surrogate,
                companions=companions,
                seed=plan.seed,
                draws=plan.crafting_draws,
                checkpoint=options.checkpoint,
                computation=computation,
            ),
            folder=options.images,
            draws=draws,
            patience=options.patience,
            left_out=left_out,
            distance=distance,
        )
        return runner.run(progress_for(runner))


def _images(options: CampaignOptions, catalogue: Catalogue, client: ScoringClient) -> FoundImages:
    limits = MessageLimits.of(catalogue, client.config.max_message_bytes)
    found = within(find_images(options.images, options.limit), limits)
    if not found.images:
        raise PlanError(f"no image to attack; the first: {found.left_out[0].name}: {found.left_out[0].error}")
    return found


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


def _facts(metric: MetricDescription, catalogue: Catalogue, surrogate: Archive | None) -> dict[str, Any]:
    low, high = metric.score_range
    return {
        "metric": {
            "name": metric.name,
            "title": metric.title,
            "range_low": low,
            "range_high": high,
            "higher_is_better": metric.higher_is_better,
            "bounds": "declared",  # what the range is: a report may scale by others, and says by which
            "calibration": asdict(metric.calibration) if metric.calibration else None,
        },
        "server_version": catalogue.server_version,
        "transfer": surrogate is not None and not _same_metric(surrogate, metric),
    }


def rounds(chain: str, metric: MetricDescription) -> bool:
    """Whether a gradient passes the chain as if a rounding, or a whole step, were absent."""
    return any(metric.defence(step.name).differentiability in _NOT_EXACT for step in parse_chain(chain))


def _same_metric(surrogate: Archive, metric: MetricDescription) -> bool:
    ours = surrogate.digest_of(surrogate.manifest.metric.graphs.torchscript)
    return any(file.sha256 == ours for file in metric.files)
