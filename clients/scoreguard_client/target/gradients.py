"""Sources of gradients: an archive on this machine, or the server."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

from scoreguard.support.digests import sha256_of
from scoreguard.v1.archive import SUFFIX, Archive
from scoreguard_client._models import Catalogue
from scoreguard_client.attacks.base import Attack, Needs
from scoreguard_client.oracles.computing import DEFAULTS, ON_CPU, Computation, Computing
from scoreguard_client.oracles.local import find_surrogate
from scoreguard_client.target.errors import PlanError

DEFAULT_SURROGATE: Final = Path("model_store")
"""Model store whose archives serve as surrogates, if present."""
LIVE: Final = "live"
UNUSED: Final = "unused"


class Gradients(StrEnum):
    """Source of gradients for gradient attacks."""

    LOCAL = "local"
    """From an archive on this machine."""
    LIVE = "live"
    """From the server's GradientService."""


def surrogate_for(metric: str, gradients: Gradients | None, surrogate: Path | None) -> Archive | None:
    """Find the archive that gives gradients; None = the server gives them.

    Args:
        metric: name of the metric.
        gradients: the user's choice; None = local if there is an archive, else live.
        surrogate: the user's archive or model store; None = `model_store` if it has the metric.

    Raises:
        PlanError: local gradients were chosen, and there is no archive.
        ContractError: the archive cannot be used.
    """
    path = surrogate or _default_surrogate(metric)
    if gradients is Gradients.LIVE or (gradients is None and path is None):
        return None
    if path is None:
        raise PlanError(f"--gradients local needs --surrogate: no {metric}{SUFFIX} in ./{DEFAULT_SURROGATE}")
    return find_surrogate(path, metric)


def surrogate_for_attacks(
    attacks: Sequence[Attack],
    catalogue: Catalogue,
    *,
    metric: str,
    gradients: Gradients | None,
    surrogate: Path | None,
) -> Archive | None:
    """Find the archive that gives attacks their gradients; None = the server gives them, or no attack needs any.

    Raises:
        PlanError: there is neither an archive nor a server that gives gradients.
        ContractError: the archive cannot be used.
    """
    needing = next((attack.name for attack in attacks if attack.needs is Needs.GRADIENT), None)
    if needing is None:
        return None
    archive = surrogate_for(metric, gradients, surrogate)
    if archive is None and not catalogue.gradients:
        raise PlanError(
            f"attack {needing!r} needs gradients of {metric}: this server gives no gradients and there is no local "
            "archive; start it with gradients, give --surrogate, or take an attack that needs scores only (square)"
        )
    return archive


def computation_for(computing: Computing, surrogate: Archive | None) -> Computation:
    """Return how local gradients are computed; without an archive for them only the defaults make sense.

    Raises:
        PlanError: options of local gradients were given and there are none.
        DeviceError: the device cannot be used.
        SurrogateError: half precision was chosen and not allowed for gradients.
    """
    if surrogate is not None:
        return computing.found()
    if computing != DEFAULTS:
        raise PlanError(
            "--device and the options beside it are for gradients from an archive on this machine (--surrogate); "
            "the server chooses its own device: leave them out"
        )
    return ON_CPU


def gradient_source(attacks: Sequence[Attack], surrogate: Archive | None) -> str:
    """Return a plan's name for the source of gradients."""
    if not any(attack.needs is Needs.GRADIENT for attack in attacks):
        return UNUSED
    return LIVE if surrogate is None else f"local:{identity_of(surrogate)}"


def identity_of(archive: Archive) -> str:
    """Identify an archive by content: its name and the digest of its manifest."""
    return f"{archive.name}:{sha256_of(archive.manifest.SerializeToString(deterministic=True))}"


def _default_surrogate(metric: str) -> Path | None:
    path = DEFAULT_SURROGATE / f"{metric}{SUFFIX}"
    return path if path.is_file() else None
