"""Score a challenge as a run scores its own attacked images, and add it to the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scoreguard.v1.spec import parse_chains
from scoreguard_client._client import ScoringClient
from scoreguard_client._exceptions import ImageError
from scoreguard_client._models import Catalogue, MetricDescription
from scoreguard_client.attacks.catalogue import parse_attack
from scoreguard_client.attacks.external import External
from scoreguard_client.campaign.endpoint import Endpoint
from scoreguard_client.campaign.external import ExternalRecord, external_of
from scoreguard_client.campaign.gallery import Gallery
from scoreguard_client.campaign.ledger import Ledger
from scoreguard_client.campaign.originals import Originals
from scoreguard_client.campaign.perceptual import PerceptualDistance, find_distance
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.planned_metric import PlannedMetric
from scoreguard_client.campaign.services import PATIENCE_SECONDS
from scoreguard_client.challenge.budget import budget_for, direction_of, largest_eps
from scoreguard_client.challenge.errors import ChallengeError
from scoreguard_client.challenge.scoring import Challenger
from scoreguard_client.challenge.submissions import find_submissions, read_submission
from scoreguard_client.progress import Progress
from scoreguard_client.target.chains import complete_chains
from scoreguard_client.target.images import LeftOut, name_of


@dataclass(frozen=True, kw_only=True)
class ChallengeOptions:
    """The user's options."""

    run: Path
    """The run directory."""
    images: Path
    """Folder of the submitted images."""
    name: str = ""
    """Who made them; empty = the name of the folder."""
    metric: str = ""
    """Metrics of the run, separated by commas; empty = all."""
    chains: str = ""
    """Chains of the run, separated by commas; empty = all."""
    eps: float | None = None
    """Largest L-infinity distance; None = see `budget_for`."""
    min_ssim: float | None = None
    """Smallest SSIM; None = see `budget_for`."""
    adaptive: bool = False
    """Whether whoever made the images knew the chains."""
    clean: Path | None = None
    """Folder of the clean images; None = where the run had them."""
    distance: str = ""
    """The run's perceptual distance with its weights, see `perceptual.find_distance`."""
    replace: bool = False
    """Whether to replace a challenge of the same name."""
    patience: float = PATIENCE_SECONDS
    """Seconds to wait for an unreachable server."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a challenge."""

    attack: External
    """Who made the images, and the budget."""
    records: tuple[ExternalRecord, ...]
    """Its records, as they are in the run."""
    left_out: tuple[LeftOut, ...]
    """Files that could not be scored."""
    largest_eps: float | None = None
    """Largest L-infinity radius of the run's attacks; None if none is bounded by one."""

    @property
    def over_budget(self) -> tuple[str, ...]:
        """Names of the images outside the budget."""
        return tuple(dict.fromkeys(record.image for record in self.records if not record.within_budget))

    @property
    def exceeds_run(self) -> bool:
        """Whether the budget is larger than that of every attack of the run."""
        return self.largest_eps is not None and self.attack.min_ssim == 0 and self.attack.eps > self.largest_eps

    @property
    def failed(self) -> tuple[ExternalRecord, ...]:
        """The records that failed."""
        return tuple(record for record in self.records if record.error)


def challenge(options: ChallengeOptions, client: ScoringClient, progress_for: Callable[[int], Progress]) -> Outcome:
    """Score a challenge and add it to its run.

    Args:
        options: what to do.
        client: the connection to the target.
        progress_for: called with the number of images, once it is known; returns the progress callback.

    Raises:
        ChallengeError: the images, the budget or the server do not fit the run, or it has a challenge of that name.
        PlanError: the clean images are gone.
        RunError: there is no run, or it cannot be written.
        ServerError: the server is unreachable, or refuses this caller; nothing is added.
    """
    with Ledger.open(options.run) as ledger:
        plan, facts = ledger.plan, ledger.facts
        earlier = {record.attack for record in ledger.external()}
    attacks = [parse_attack(text) for text in plan.attacks]
    budget = budget_for(attacks, options.eps, options.min_ssim)
    attack = External(
        by=options.name or options.images.resolve().name,
        eps=budget.eps,
        min_ssim=budget.min_ssim,
        direction=direction_of(attacks),
    )
    replaced = _replaced(attack, earlier, options)
    metrics = _deployed(plan, options, client.list_metrics())
    submissions, left_out = find_submissions(options.images, plan.images)
    challenger = Challenger(
        attack=attack,
        budget=budget,
        plan=plan,
        endpoints={name: Endpoint(client, name, metric.archive_sha256) for name, metric in metrics.items()},
        chains={name: _chains(plan.metric(name), options, metric) for name, metric in metrics.items()},
        adaptive=options.adaptive,
        distance=_distance(plan, options),
        patience=options.patience,
    )
    originals = Originals.of(facts, options.clean)
    gallery, records = Gallery(options.run, facts["shown"], keep_attacked=True), list[ExternalRecord]()
    progress = progress_for(len(submissions))
    for submission in submissions:
        progress(0, submission.image.name)
        try:
            submitted = read_submission(submission)
        except ImageError as error:
            left_out.append(LeftOut(name=name_of(submission.path, options.images), error=str(error)))
        else:
            with Ledger.open(options.run) as ledger:
                clean = ledger.clean_of(challenger.clean_keys(submission.image))
            scored = challenger.score(submission.image, originals.read(submission.image), submitted, clean)
            records += scored.records
            for image in scored.images:
                gallery.keep(image)
        progress(1, "")
    if not records:
        raise ChallengeError(f"no image in {options.images} can be scored; the first: {left_out[0].error}")
    with Ledger.open(options.run) as ledger:
        # At once: what is in a run is a whole challenge.
        ledger.replace_external(replaced, records)
    return Outcome(attack=attack, records=tuple(records), left_out=tuple(left_out), largest_eps=largest_eps(attacks))


def _replaced(attack: External, earlier: Iterable[str], options: ChallengeOptions) -> list[str]:
    same = [text for text in earlier if external_of(text).by == attack.by]
    if same and not options.replace:
        raise ChallengeError(
            f"{options.run} has a challenge of {attack.by!r} already: replace it with --replace, or give another --name"
        )
    return same


def _deployed(plan: Plan, options: ChallengeOptions, catalogue: Catalogue) -> dict[str, MetricDescription]:
    """Return what is deployed of the metrics to score with, which must be what the run was made with."""
    deployed = {}
    for name in options.metric.split(",") if options.metric else plan.names:
        if name not in plan.names:
            raise ChallengeError(f"{name!r} is no metric of the run, which has {', '.join(plan.names)}")
        deployed[name] = catalogue.metric(name)
        there, here = deployed[name].archive_sha256, plan.metric(name).archive_sha256
        if there != here:
            raise ChallengeError(
                f"the server has another archive of {name} ({there[:12]}) than the run was made with ({here[:12]}): "
                "scores would not be comparable"
            )
    return deployed


def _chains(planned: PlannedMetric, options: ChallengeOptions, metric: MetricDescription) -> Sequence[str]:
    if not options.chains:
        return planned.chains
    chains = complete_chains(parse_chains(options.chains), metric)
    if stray := [chain for chain in chains if chain not in planned.chains]:
        known = ", ".join(planned.chains)
        raise ChallengeError(f"{stray[0]} is no chain of the run before {planned.name}, which has {known}")
    return chains


def _distance(plan: Plan, options: ChallengeOptions) -> PerceptualDistance | None:
    """Return the run's perceptual distance, with the weights that the user names."""
    if not plan.distance:
        if options.distance:
            raise ChallengeError("the run measures no perceptual distance: leave --distance out")
        return None
    distance = find_distance(options.distance or plan.distance.partition(":")[0])
    if distance is None or distance.source != plan.distance:
        there = distance.source if distance else "none"
        raise ChallengeError(f"the run measures {plan.distance}, and --distance gives {there}")
    return distance
