"""Extending a run: more images, attacks, chains, metrics or draws; what it has stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scoreguard_client._exceptions import ImageError
from scoreguard_client.campaign.differences import differences
from scoreguard_client.campaign.errors import PlanMismatchError
from scoreguard_client.campaign.options import CampaignOptions
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.planned_metric import PlannedMetric
from scoreguard_client.target.errors import PlanError
from scoreguard_client.target.gradients import UNUSED
from scoreguard_client.target.image_sets import ImageReader
from scoreguard_client.target.images import FoundImages, ImageRef, path_of


@dataclass(frozen=True, kw_only=True)
class Base:
    """A run that is extended."""

    run: Path
    """The run directory."""
    plan: Plan
    """Its plan."""
    facts: Mapping[str, Any]
    """What it states beside the plan."""

    def widened(self, options: CampaignOptions) -> CampaignOptions:
        """Return options that ask for everything of the run, and for what they asked for besides."""
        return replace(
            options,
            metric=",".join(filter(None, [*self.plan.names, options.metric])),
            attacks=",".join(filter(None, [*self.plan.attacks, options.attacks])),
            adaptive=self.plan.adaptive or options.adaptive,
            draws=max(self.plan.draws, options.draws),
        )

    def labels(self, metric: str) -> list[str]:
        """Return the chains before a metric, as the user wrote them; of a new metric, those before any other."""
        mine = [planned for planned in self.plan.metrics if planned.name == metric] or self.plan.metrics
        known = self.facts["metrics"]
        return list(dict.fromkeys(known[of.name]["labels"].get(chain, chain) for of in mine for chain in of.chains))

    def check(self, wider: Plan) -> None:
        """Check that a plan only adds to the run's.

        Raises:
            PlanMismatchError: more differs.
        """
        found = differences(self.plan, narrowed(wider, self.plan))
        if found:
            raise PlanMismatchError(self.run, found)


def narrowed(wider: Plan, plan: Plan) -> Plan:
    """Return the part of a plan that another one has: equal to that one if the wider plan only adds to it."""
    images = {image.name: image for image in wider.images}
    return replace(
        wider,
        metrics=tuple(
            _narrowed(wider.metric(metric.name), metric) for metric in plan.metrics if metric.name in wider.names
        ),
        attacks=tuple(attack for attack in plan.attacks if attack in wider.attacks),
        images=tuple(images[image.name] for image in plan.images if image.name in images),
        adaptive=plan.adaptive and wider.adaptive,
        draws=min(plan.draws, wider.draws),
    )


def _narrowed(wider: PlannedMetric, metric: PlannedMetric) -> PlannedMetric:
    chains = tuple(chain for chain in metric.chains if chain in wider.chains)
    return replace(
        wider,
        chains=chains,
        random_chains=tuple(chain for chain in metric.random_chains if chain in wider.random_chains),
        # Attacks that were added may be the first that need gradients, or another metric.
        gradients=UNUSED if metric.gradients == UNUSED else wider.gradients,
        companions=tuple(companion for companion in metric.companions if companion in wider.companions),
    )


def with_known_images(found: FoundImages, plan: Plan, reader: ImageReader) -> FoundImages:
    """Return the images of a run besides those that were found, in the order of their paths.

    Raises:
        PlanError: an image of the run cannot be read, or is another one by now.
    """
    images = {image.name: image for image in found.images}
    for image in plan.images:
        if image.name not in images:
            images[image.name] = _still_there(image, reader)
        if images[image.name] != image:
            raise PlanError(f"{image.name} was changed since the run was made: it cannot be extended")
    ordered = sorted(images.values(), key=lambda image: path_of(reader.root, image.name))
    return FoundImages(images=tuple(ordered), left_out=found.left_out)


def _still_there(image: ImageRef, reader: ImageReader) -> ImageRef:
    try:
        return reader.ref(image.name)
    except ImageError as error:
        raise PlanError(f"{image.name} of the run cannot be read from {reader.root}: {error}") from error
