"""Sources of the metrics that an attack needs in addition to the attacked one: next to the surrogate, or the server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scoreguard.v1.archive import SUFFIX, Archive
from scoreguard_client._models import Catalogue, MetricDescription
from scoreguard_client.attacks.base import Attack
from scoreguard_client.attacks.errors import CompanionMissingError
from scoreguard_client.oracles.local import find_surrogate
from scoreguard_client.target.gradients import DEFAULT_SURROGATE, LIVE, identity_of

Companion = Archive | MetricDescription
"""Source of another metric: a local archive, or one deployed on the server."""


def companions_for(attacks: Sequence[Attack], surrogate: Path | None, catalogue: Catalogue) -> dict[str, Companion]:
    """Find the source of each additional metric that the attacks need.

    Raises:
        CompanionMissingError: a metric is in neither place.
        ContractError: an archive cannot be used.
    """
    found: dict[str, Companion] = {}
    for attack in attacks:
        for name in attack.companions:
            companion = found.get(name) or find_companion(name, surrogate, catalogue)
            if companion is None:
                raise CompanionMissingError(attack.name, name)
            found[name] = companion
    return found


def find_companion(name: str, surrogate: Path | None, catalogue: Catalogue) -> Companion | None:
    """Find a metric in the surrogate's model store or on the server; None if it is in neither.

    Raises:
        ContractError: the archive cannot be used.
    """
    store = surrogate if surrogate is not None and surrogate.is_dir() else DEFAULT_SURROGATE
    if (store / f"{name}{SUFFIX}").is_file():
        return find_surrogate(store, name)
    return next((metric for metric in catalogue.metrics if metric.name == name), None)


def companion_source(name: str, companion: Companion) -> str:
    """Return a plan's name for the source of another metric."""
    if isinstance(companion, Archive):
        return f"{name}:local:{identity_of(companion)}"
    return f"{name}:{LIVE}:{companion.archive_sha256}"
