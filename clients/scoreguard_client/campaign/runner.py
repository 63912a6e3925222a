"""Running a plan: score the clean pictures, then for each unit craft, score behind every chain, and write down.

A unit's records are written in one transaction. What is written is never done again; a run that was killed goes on
where it was when it is started again. Failed records carry their cause and are tried again on the next start.

One picture's failure is its own: where a batch fails, its pictures are attacked one by one. A server that goes away is
waited for, and what was under way is done again once it is back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from scoreguard.v1.codec import Picture
from scoreguard.v1.errors import ContractError
from scoreguard.v1.spec import UNDEFENDED, parse_chain
from scoreguard_client._exceptions import ScoreguardError, UnavailableError
from scoreguard_client._models import MetricDescription
from scoreguard_client.campaign.crafting import Crafter
from scoreguard_client.campaign.endpoint import FATAL, Answer, Endpoint
from scoreguard_client.campaign.errors import ServerGoneError, may_pass
from scoreguard_client.campaign.gallery import CraftedBatch, Gallery
from scoreguard_client.campaign.plan import Plan, Unit
from scoreguard_client.campaign.records import CleanScore, Record, RecordKey
from scoreguard_client.campaign.scoring import CleanTable, Scorer, clean_jobs, fidelity_of_purified
from scoreguard_client.campaign.store import Store
from scoreguard_client.oracles.base import Images
from scoreguard_client.oracles.live import is_random
from scoreguard_client.target.images import ImageRef, LeftOut, as_batch, read_image

PATIENCE_SECONDS: Final = 120.0
"""How long a server that has gone is waited for."""

Progress = Callable[[int, str], None]
"""Called with the number of steps that were done and with what is being done next."""


_RETURNS: Final = 3
"""How often a server may come back before a piece of work that it does not survive counts as failed."""
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How a run ended."""

    records: int
    """Records that are there and did not fail."""
    failed: int
    """Records that failed."""
    first_error: str
    """Cause of the first failed record; empty where none failed."""
    retryable: int = 0
    """Failed records that may pass when the command is run again."""
    left_out: tuple[LeftOut, ...] = ()
    """Files of the image folder that could not be planned."""


def draws_by_chain(plan: Plan, metric: MetricDescription) -> dict[str, int]:
    """Draws of each chain of a plan: one for deterministic chains; `none` is always there."""
    chains = dict.fromkeys([UNDEFENDED, *plan.defences])
    return {chain: plan.draws if is_random(metric, parse_chain(chain)) else 1 for chain in chains}


def expected_records(plan: Plan, draws: dict[str, int]) -> int:
    """Records of a finished run."""
    per_image = {unit: sum(draws[chain] for chain in plan.scored_behind(unit)) for unit in plan.units()}
    return sum(len(unit.images) * count for unit, count in per_image.items())


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs one plan into one store."""

    plan: Plan
    """What to do."""
    store: Store
    """Where records go."""
    gallery: Gallery
    """Where pictures go."""
    endpoint: Endpoint
    """What scores."""
    crafter: Crafter
    """What attacks."""
    folder: Path
    """Where the clean pictures are."""
    draws: dict[str, int]
    """Draws by chain, `none` included."""
    patience: float = PATIENCE_SECONDS
    """Seconds to wait for a server that has gone."""
    left_out: tuple[LeftOut, ...] = ()
    """Files of the image folder that could not be planned."""

    @property
    def steps(self) -> int:
        """Steps of the whole plan, for a progress bar: clean scores and records."""
        return len(self.plan.images) * sum(self.draws.values()) + expected_records(self.plan, self.draws)

    def run(self, progress: Progress) -> Summary:
        """Do everything that is not done.

        Raises:
            ServerGoneError: the server stayed away, or came back with another archive; what was done is kept.
            ServerError: the server refuses this caller.
        """
        scorer = Scorer(
            plan=self.plan,
            endpoint=self.endpoint,
            gallery=self.gallery,
            draws=self.draws,
            clean=self._score_clean(progress),
        )
        done = self.store.done()
        for unit in self.plan.units():
            self._run_unit(unit, scorer, done, progress)
        return self._summary()

    def _score_clean(self, progress: Progress) -> CleanTable:
        known = {(row.image, row.chain, row.draw): row for row in self.store.clean() if not row.error}
        progress(len(known), "clean pictures")
        for image in self.plan.images:
            places = ((image.name, chain, draw) for chain, count in self.draws.items() for draw in range(count))
            missing = [place for place in places if place not in known]
            if missing:
                rows = self._score_clean_image(image, missing)
                self.store.add_clean(rows)
                known |= {(row.image, row.chain, row.draw): row for row in rows}
                progress(len(missing), f"clean {image.name}")
        return known

    def _score_clean_image(self, image: ImageRef, places: Sequence[tuple[str, str, int]]) -> list[CleanScore]:
        try:
            picture = read_image(self.folder, image)
        except ScoreguardError as error:
            answer = Answer(error=str(error), retryable=may_pass(error))
            return [_clean_score(place, self._clean_seed(place), None, answer) for place in places]
        self.gallery.show(image.name, picture)
        jobs = clean_jobs(self.plan, places, {image.name: picture})
        answers = self._patiently(lambda: self.endpoint.score(jobs))
        rows = zip(places, answers, strict=True)
        return [_clean_score(place, self._clean_seed(place), picture, answer) for place, answer in rows]

    def _clean_seed(self, place: tuple[str, str, int]) -> int:
        return self.plan.seed_for("clean", *place)

    def _run_unit(self, unit: Unit, scorer: Scorer, done: set[RecordKey], progress: Progress) -> None:
        wanted = {key for image in unit.images for key in scorer.keys(unit, image)}
        missing = wanted - done
        progress(len(wanted) - len(missing), f"{unit.attack.split(':')[0]} through {unit.crafting}")
        if missing:
            accepted = self._accepted(unit, scorer, done)
            if accepted.images:
                self.store.add_records(self._finished(self._remaining(accepted, missing), scorer, done))
        progress(len(missing), "")

    def _accepted(self, unit: Unit, scorer: Scorer, done: set[RecordKey]) -> Unit:
        """The unit without the images whose clean score failed; their records say so."""
        refusals = {image: scorer.refusal(unit, image) for image in unit.images}
        refused = {image: error for image, error in refusals.items() if error is not None}
        if refused:
            alone = (scorer.failed(replace(unit, images=(image,)), error) for image, error in refused.items())
            self.store.add_records(_undone([record for records in alone for record in records], done))
        return replace(unit, images=tuple(image for image in unit.images if image not in refused))

    def _remaining(self, unit: Unit, missing: set[RecordKey]) -> Unit:
        # A batch that is kept has them all; otherwise only what is missing is attacked.
        if self.gallery.has(unit):
            return unit
        names = {key[0] for key in missing}
        return replace(unit, images=tuple(image for image in unit.images if image.name in names))

    def _records(self, unit: Unit, scorer: Scorer, done: set[RecordKey]) -> list[Record]:
        try:
            return self._patiently(lambda: self._attacked(unit, scorer, done))
        except ServerGoneError as error:
            self.store.add_records(_undone(scorer.failed(unit, error), done))
            raise
        except FATAL:
            raise
        except (ScoreguardError, ContractError) as error:
            if len(unit.images) > 1:
                return self._one_by_one(unit, scorer, done)
            return _undone(scorer.failed(unit, error), done)

    def _one_by_one(self, unit: Unit, scorer: Scorer, done: set[RecordKey]) -> list[Record]:
        alone = (replace(unit, images=(image,)) for image in unit.images)
        missing = (part for part in alone if any(key not in done for key in scorer.keys(part, part.images[0])))
        return [record for part in missing for record in self._finished(part, scorer, done)]

    def _finished(self, unit: Unit, scorer: Scorer, done: set[RecordKey]) -> list[Record]:
        records = self._records(unit, scorer, done)
        if not any(record.error for record in records):
            self.gallery.finish(unit)
        return records

    def _attacked(self, unit: Unit, scorer: Scorer, done: set[RecordKey]) -> list[Record]:
        clean = as_batch([read_image(self.folder, image) for image in unit.images])
        return scorer.records(unit, self._crafted(unit, clean), clean, done)

    def _patiently(self, work: Callable[[], _Result]) -> _Result:
        for _ in range(_RETURNS):
            try:
                return work()
            except UnavailableError:
                self.endpoint.wait(self.patience, self.plan.archive_sha256)
        return work()

    def _crafted(self, unit: Unit, clean: Images) -> CraftedBatch:
        batch = self.gallery.load(unit)
        if batch is None:
            batch = self.crafter.craft(unit, clean)
            self.gallery.save(unit, batch)
        return batch

    def _summary(self) -> Summary:
        failed = [record for record in self.store.records() if record.error]
        return Summary(
            records=len(self.store.done()),
            failed=len(failed),
            first_error=failed[0].error if failed else "",
            retryable=sum(record.retryable for record in failed),
            left_out=self.left_out,
        )


def _undone(records: list[Record], done: set[RecordKey]) -> list[Record]:
    return [record for record in records if record.key not in done]


def _clean_score(place: tuple[str, str, int], seed: int, picture: Picture | None, answer: Answer) -> CleanScore:
    image, chain, draw = place
    return CleanScore(
        image=image,
        chain=chain,
        draw=draw,
        seed=seed,
        score=answer.score,
        seconds=answer.seconds,
        error=answer.error,
        retryable=answer.retryable,
        **fidelity_of_purified(picture, answer.purified),
    )
