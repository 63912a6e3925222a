"""Run one unit: attack its images, score them behind every chain, and write the records.

One image's failure does not affect the rest: if a batch fails, its images are attacked one by one.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path

from scoreguard.v1.errors import ContractError
from scoreguard_client._exceptions import ScoreguardError
from scoreguard_client.campaign.endpoint import Patience
from scoreguard_client.campaign.errors import ServerGoneError
from scoreguard_client.campaign.gallery import Gallery
from scoreguard_client.campaign.records import Record, RecordKey
from scoreguard_client.campaign.scoring import Scorer
from scoreguard_client.campaign.store import Store
from scoreguard_client.oracles.base import Images
from scoreguard_client.progress import Progress
from scoreguard_client.target.crafting import CraftedBatch, Crafter
from scoreguard_client.target.errors import FATAL
from scoreguard_client.target.images import as_batch, read_image
from scoreguard_client.target.units import Unit


@dataclass(frozen=True, kw_only=True)
class UnitRunner:
    """Runs the units of a plan, one call each."""

    store: Store
    """Destination of the records."""
    gallery: Gallery
    """Destination of the images."""
    crafter: Crafter
    """Runs the attacks."""
    scorer: Scorer
    """Scores the images and makes the records."""
    patience: Patience
    """How long to wait for an unreachable server."""
    folder: Path
    """Folder of the clean images."""
    done: AbstractSet[RecordKey]
    """Records that are already done."""
    progress: Progress
    """Called as records are written."""

    def run(self, unit: Unit) -> None:
        """Make the missing records of a unit.

        Raises:
            ServerGoneError: the server stayed unreachable, or came back with another archive; its records say so.
            ServerError: the server refuses this caller.
        """
        wanted = {key for image in unit.images for key in self.scorer.keys(unit, image)}
        missing = wanted - self.done
        self.progress(len(wanted) - len(missing), f"{unit.attack.name} through {unit.attacked_through}")
        if missing:
            accepted = self._accepted(unit)
            if accepted.images:
                self.store.add_records(self._records(self._remaining(accepted, missing)))
        self.progress(len(missing), "")

    def _accepted(self, unit: Unit) -> Unit:
        """Return the unit without the images whose clean score failed; their records say so."""
        refusals = {image: self.scorer.refusal(unit, image) for image in unit.images}
        refused = {image: error for image, error in refusals.items() if error is not None}
        if refused:
            alone = (self._failed(replace(unit, images=(image,)), error) for image, error in refused.items())
            self.store.add_records([record for records in alone for record in records])
        return replace(unit, images=tuple(image for image in unit.images if image not in refused))

    def _remaining(self, unit: Unit, missing: AbstractSet[RecordKey]) -> Unit:
        # A stored batch has all images; otherwise only the missing ones are attacked.
        if self.gallery.has(unit):
            return unit
        names = {key.image for key in missing}
        return replace(unit, images=tuple(image for image in unit.images if image.name in names))

    def _records(self, unit: Unit) -> list[Record]:
        try:
            records = self.patience.outlast(lambda: self._attacked_and_scored(unit))
        except ServerGoneError as error:
            self.store.add_records(self._failed(unit, error))
            raise
        except FATAL:
            raise
        except (ScoreguardError, ContractError) as error:
            records = self._one_by_one(unit) if len(unit.images) > 1 else self._failed(unit, error)
        if not any(record.error for record in records):
            self.gallery.finish(unit)
        return records

    def _one_by_one(self, unit: Unit) -> list[Record]:
        alone = (replace(unit, images=(image,)) for image in unit.images)
        missing = (part for part in alone if not self.done >= set(self.scorer.keys(part, part.images[0])))
        return [record for part in missing for record in self._records(part)]

    def _attacked_and_scored(self, unit: Unit) -> list[Record]:
        clean = as_batch([read_image(self.folder, image) for image in unit.images])
        return self.scorer.records(unit, self._crafted(unit, clean), clean, self.done)

    def _crafted(self, unit: Unit, clean: Images) -> CraftedBatch:
        batch = self.gallery.load(unit)
        if batch is None:
            batch = self.crafter.craft(unit, clean)
            self.gallery.save(unit, batch)
        return batch

    def _failed(self, unit: Unit, error: Exception) -> list[Record]:
        return [record for record in self.scorer.failed(unit, error) if record.key not in self.done]
