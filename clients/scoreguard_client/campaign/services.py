"""What executing a unit uses: endpoints, attacks, images, a distance, and a cache of attacked images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from scoreguard.v1.codec import ImageArray
from scoreguard_client.campaign.endpoint import Endpoint, Patience
from scoreguard_client.campaign.perceptual import PerceptualDistance
from scoreguard_client.target.crafting import CraftedBatch, Crafter
from scoreguard_client.target.images import ImageRef
from scoreguard_client.target.units import Unit

PATIENCE_SECONDS: Final = 120.0
"""How long to wait for an unreachable server."""


class BatchCache(Protocol):
    """Keeps attacked images, so that a unit whose scoring was interrupted is not attacked again."""

    def has(self, unit: Unit) -> bool:
        """Whether the attacked images of a unit are kept."""
        ...

    def load(self, unit: Unit) -> CraftedBatch | None:
        """Return the attacked images of a unit; None if they must be made (again)."""

    def save(self, unit: Unit, batch: CraftedBatch) -> None:
        """Keep the attacked images of a unit."""


class NoCache:
    """Keeps nothing: what is interrupted is attacked again."""

    def has(self, unit: Unit) -> bool:
        """Whether the attacked images of a unit are kept: never."""
        del unit
        return False

    def load(self, unit: Unit) -> CraftedBatch | None:
        """Return nothing."""
        del unit
        return None

    def save(self, unit: Unit, batch: CraftedBatch) -> None:
        """Keep nothing."""


@dataclass(frozen=True)
class MemoryCache:
    """Keeps the attacked images of this process."""

    _batches: dict[str, CraftedBatch] = field(default_factory=dict)

    def has(self, unit: Unit) -> bool:
        """Whether the attacked images of a unit are kept."""
        return unit.key in self._batches

    def load(self, unit: Unit) -> CraftedBatch | None:
        """Return the attacked images of a unit; None if they were not made here."""
        return self._batches.get(unit.key)

    def save(self, unit: Unit, batch: CraftedBatch) -> None:
        """Keep the attacked images of a unit."""
        self._batches[unit.key] = batch


@dataclass(frozen=True, kw_only=True)
class Services:
    """What executing a unit uses; nothing here stores records."""

    endpoints: Mapping[str, Endpoint]
    """The endpoint of each metric, by its name."""
    crafters: Mapping[str, Crafter]
    """What runs the attacks on each metric, by its name."""
    read: Callable[[ImageRef], ImageArray]
    """Reads a clean image; raises ScoreguardError if it cannot be read, or differs from the planned one."""
    cache: BatchCache
    """Attacked images of interrupted units."""
    patience: float = PATIENCE_SECONDS
    """Seconds to wait for an unreachable server."""
    distance: PerceptualDistance | None = None
    """The perceptual distance to measure."""

    def patience_with(self, metric: str) -> Patience:
        """Return what waits for the endpoint of a metric."""
        return Patience(endpoint=self.endpoints[metric], seconds=self.patience)
