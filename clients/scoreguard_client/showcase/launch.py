"""Turn options into a showcase: query what is deployed, attack the photo once, and run every defence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from scoreguard.v1.codec import ImageArray
from scoreguard.v1.spec import UNDEFENDED, Step, format_chain, parse_chains
from scoreguard_client._client import ScoringClient
from scoreguard_client._models import Catalogue, FloatImage, MetricDescription
from scoreguard_client.attacks.base import Attack
from scoreguard_client.attacks.catalogue import parse_attack
from scoreguard_client.progress import Progress
from scoreguard_client.scores.fidelity import l_infinity
from scoreguard_client.showcase.cards import Card, Facts, Showcase
from scoreguard_client.showcase.details import Window, busiest, parse_window
from scoreguard_client.showcase.errors import ShowcaseError
from scoreguard_client.showcase.images import amplification
from scoreguard_client.showcase.studio import Studio
from scoreguard_client.target.chains import complete_chains
from scoreguard_client.target.companions import companions_for
from scoreguard_client.target.crafting import Crafter
from scoreguard_client.target.gradients import Gradients, gradient_source, surrogate_for_attacks
from scoreguard_client.target.images import as_batch, image_ref, read_image, unit_values
from scoreguard_client.target.units import Unit


@dataclass(frozen=True, kw_only=True)
class ShowcaseOptions:
    """The user's options."""

    photo: Path
    """The clean image."""
    metric: str = ""
    """Name of a deployed metric; empty = the only one."""
    attack: str = "ifgsm:eps=8/255"
    """The attack, in its text form."""
    defences: str = ""
    """Chains, separated by commas; empty = every deployed defence at its defaults."""
    gradients: Gradients | None = None
    """Source of gradients; None = local if there is a surrogate, else live."""
    surrogate: Path | None = None
    """Archive or model store; None = `model_store` if present."""
    detail: str = ""
    """`X,Y,SIDE` of the detail, in pixels; empty = where the photo has the most structure."""
    seed: int = 0
    """Seed of the attack and of random defences."""


def make_showcase(options: ShowcaseOptions, client: ScoringClient, progress_for: Callable[[int], Progress]) -> Showcase:
    """Attack the photo on the undefended metric, and take it through every defence, clean and attacked.

    The attacked image is that of a campaign with the same attack, metric, photo and seed.

    Args:
        options: what to do.
        client: the connection to the endpoint.
        progress_for: called with the number of steps once it is known; returns the progress callback.

    Raises:
        ShowcaseError: the options do not fit the photo or the deployment.
        PlanError: a defence's parameter or the source of gradients does not fit.
        ScoreguardError: the photo, the attack, the surrogate or the server cannot be used.
        ContractError: a chain cannot be read, or the surrogate cannot be used.
    """
    reference, attack = image_ref(options.photo, options.photo.parent), parse_attack(options.attack).pinned()
    clean = read_image(options.photo.parent, reference)
    window = _window(options, unit_values(clean))
    catalogue = client.list_metrics()
    metric = catalogue.metric(options.metric)
    options = replace(options, metric=metric.name)
    chains = _chains(options, metric)
    crafter = _crafter(options, client, catalogue, attack)
    progress = progress_for(len(chains) + 2)
    progress(0, f"attack {attack.name}")
    unit = Unit(metric=metric.name, attack=attack, attacked_through=UNDEFENDED, images=(reference,))
    attacked = _attacked(crafter, unit, clean)
    change = l_infinity(unit_values(clean), attacked)
    studio = Studio(
        client=client,
        metric=metric,
        clean=clean,
        attacked=attacked,
        window=window,
        factor=amplification(change),
        seed=options.seed,
    )
    progress(1, "undefended")
    undefended = studio.undefended()
    cards = tuple(_cards(studio, chains, progress))
    facts = _facts(crafter, unit, catalogue, change)
    return Showcase(facts=facts, undefended=undefended, cards=cards)


def _window(options: ShowcaseOptions, photo: FloatImage) -> Window:
    return parse_window(options.detail, photo) if options.detail else busiest(photo)


def _cards(studio: Studio, chains: Sequence[tuple[Step, ...]], progress: Progress) -> Iterator[Card]:
    for chain in chains:
        progress(1, format_chain(chain))
        yield studio.card(chain)
    progress(1, "")


def _chains(options: ShowcaseOptions, metric: MetricDescription) -> list[tuple[Step, ...]]:
    if not options.defences:
        chains: Iterable[tuple[Step, ...]] = ((Step(name=defence.name),) for defence in metric.defences)
    else:
        chains = parse_chains(options.defences)
    # The undefended photo heads every page anyway.
    wanted = [chain for chain in dict.fromkeys(chains) if chain]
    if not wanted:
        raise ShowcaseError(f"no defence to show: none is deployed before {metric.name}, or only 'none' was asked for")
    complete_chains(wanted, metric)
    return wanted


def _crafter(options: ShowcaseOptions, client: ScoringClient, catalogue: Catalogue, attack: Attack) -> Crafter:
    if not attack.fits(()):
        raise ShowcaseError(f"attack {attack.name!r} needs {attack.wants}, and a showcase attacks the metric alone")
    surrogate = surrogate_for_attacks(
        (attack,), catalogue, metric=options.metric, gradients=options.gradients, surrogate=options.surrogate
    )
    return Crafter(
        client=client,
        metric=catalogue.metric(options.metric),
        surrogate=surrogate,
        companions=companions_for((attack,), options.surrogate, catalogue),
        seed=options.seed,
    )


def _attacked(crafter: Crafter, unit: Unit, clean: ImageArray) -> FloatImage:
    batch = crafter.craft(unit, as_batch([clean]))
    return np.ascontiguousarray(batch.result.attacked[0].transpose(1, 2, 0))


def _facts(crafter: Crafter, unit: Unit, catalogue: Catalogue, change: float) -> Facts:
    metric, attack, (photo,) = crafter.metric, unit.attack, unit.images
    return Facts(
        photo=photo.name,
        sha256=photo.sha256,
        height=photo.height,
        width=photo.width,
        metric=metric.name,
        metric_title=metric.title or metric.name,
        score_range=metric.score_range,
        higher_is_better=metric.higher_is_better,
        archive_sha256=metric.archive_sha256,
        server_version=catalogue.server_version,
        attack=str(attack),
        attack_title=attack.title,
        gradients=gradient_source((attack,), crafter.surrogate),
        l_infinity=change,
        amplification=amplification(change),
        seed=crafter.seed,
    )
