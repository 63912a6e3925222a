"""Execute one unit: attack its images and score them behind every chain. Nothing is stored here.

One image's failure does not affect the rest: if a batch fails, its images are attacked one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from scoreguard.v1.errors import ContractError
from scoreguard_client._exceptions import ScoreguardError
from scoreguard_client.campaign.errors import ServerGoneError
from scoreguard_client.campaign.records import Record, RecordKey
from scoreguard_client.campaign.results import ShownImage, UnitResult
from scoreguard_client.campaign.scoring import CleanTable, Scored, Scorer, failed_records, shown_images
from scoreguard_client.campaign.services import Services
from scoreguard_client.oracles.base import Images
from scoreguard_client.target.crafting import CraftedBatch
from scoreguard_client.target.errors import FATAL
from scoreguard_client.target.images import as_batch
from scoreguard_client.target.units import Unit


@dataclass(frozen=True, kw_only=True)
class UnitWork:
    """A unit, and what of it is still to do."""

    unit: Unit
    """The unit."""
    keys: tuple[RecordKey, ...]
    """The records to make."""
    clean: CleanTable
    """Clean scores of its images behind its chains."""
    seed: int
    """The plan's seed."""
    shown: frozenset[str] = frozenset()
    """Names of the images that the report shows."""

    @property
    def lease(self) -> str:
        """Name of the lease on it."""
        return self.unit.key


def failed_unit(work: UnitWork, error: Exception) -> UnitResult:
    """Return records that failed, with the cause."""
    images = {image.name: image for image in work.unit.images}
    records = (record for key in work.keys for record in failed_records(images[key.image], [key], work.seed, error))
    return UnitResult(records=tuple(records))


def execute(work: UnitWork, services: Services) -> UnitResult:
    """Make the records of a unit; what cannot be made is a failed record that says why.

    Raises:
        ServerError: the server refuses this caller, so no later call would be answered either.
        MissingExtraError: an attack needs a package that is not installed.
    """
    scorer = Scorer(
        endpoint=services.endpoints[work.unit.metric], seed=work.seed, clean=work.clean, distance=services.distance
    )
    keys: dict[str, list[RecordKey]] = {}
    for key in work.keys:
        keys.setdefault(key.image, []).append(key)
    execution = _Execution(services=services, scorer=scorer, keys=keys, shown=work.shown)
    execution.run(work.unit)
    return UnitResult(
        records=tuple(execution.records),
        images=tuple(execution.images),
        unrepeatable=services.crafters[work.unit.metric].unrepeatable,
        finished=tuple(execution.finished),
        gone=execution.gone,
    )


@dataclass(kw_only=True)
class _Execution:
    """What is known of a unit while it is executed."""

    services: Services
    scorer: Scorer
    keys: dict[str, list[RecordKey]]
    """The records to make, by the image's name."""
    shown: frozenset[str]
    records: list[Record] = field(default_factory=list)
    images: list[ShownImage] = field(default_factory=list)
    finished: list[Unit] = field(default_factory=list)
    gone: ServerGoneError | None = None

    def run(self, unit: Unit) -> None:
        accepted = self._remaining(self._accepted(unit))
        if accepted.images:
            self._attack(accepted)

    def _accepted(self, unit: Unit) -> Unit:
        """Return the unit without the images whose clean score failed; their records say so."""
        refusals = {image: self.scorer.refusal(unit, image) for image in unit.images if image.name in self.keys}
        refused = {image: error for image, error in refusals.items() if error is not None}
        for image, error in refused.items():
            self.records += failed_records(image, self.keys.pop(image.name), self.scorer.seed, error)
        return replace(unit, images=tuple(image for image in unit.images if image not in refused))

    def _remaining(self, unit: Unit) -> Unit:
        # A kept batch has all images; otherwise only those with missing records are attacked.
        if self.keys and self.services.cache.has(unit):
            return unit
        return replace(unit, images=tuple(image for image in unit.images if image.name in self.keys))

    def _attack(self, unit: Unit) -> None:
        try:
            scored = self.services.patience_with(unit.metric).outlast(lambda: self._attacked_and_scored(unit))
        except ServerGoneError as error:
            self.gone = error
            self._fail(unit, error)
        except FATAL:
            raise
        except (ScoreguardError, ContractError) as error:
            if len(unit.images) > 1:
                self._one_by_one(unit)
            else:
                self._fail(unit, error)
        else:
            self._take(unit, scored)

    def _one_by_one(self, unit: Unit) -> None:
        for image in unit.images:
            if image.name in self.keys and self.gone is None:
                self._attack(replace(unit, images=(image,)))

    def _attacked_and_scored(self, unit: Unit) -> list[Scored]:
        clean = as_batch([self.services.read(image) for image in unit.images])
        return self.scorer.scored(unit, self._crafted(unit, clean), clean, self.keys)

    def _crafted(self, unit: Unit, clean: Images) -> CraftedBatch:
        batch = self.services.cache.load(unit)
        if batch is None:
            batch = self.services.crafters[unit.metric].craft(unit, clean)
            self.services.cache.save(unit, batch)
        return batch

    def _take(self, unit: Unit, scored: Sequence[Scored]) -> None:
        records = [record for one in scored for record in self.scorer.records(one)]
        self.records += records
        self.images += (
            image for one in scored if one.attacked.image.name in self.shown for image in shown_images(unit, one)
        )
        if not any(record.error for record in records):
            self.finished.append(unit)

    def _fail(self, unit: Unit, error: Exception) -> None:
        for image in unit.images:
            self.records += failed_records(image, self.keys.get(image.name, ()), self.scorer.seed, error)
