"""Run a plan: score the clean images, then execute unit after unit, and write what becomes of each.

What became of a unit is written in one transaction. Recorded work is never repeated; a killed run resumes when it is
started again. Failed records carry their cause and are retried on the next start.

If the server becomes unreachable, the run waits, and repeats the interrupted work once it is back.
"""

from __future__ import annotations

from dataclasses import dataclass

from scoreguard_client.campaign.clean_scores import CleanWork, score_clean
from scoreguard_client.campaign.execute import UnitWork, execute
from scoreguard_client.campaign.gallery import Gallery
from scoreguard_client.campaign.ledger import Ledger
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.records import CleanKey, CleanScore, RecordKey
from scoreguard_client.campaign.services import Services
from scoreguard_client.oracles.computing import ON_CPU, Computation
from scoreguard_client.progress import Progress
from scoreguard_client.target.images import LeftOut
from scoreguard_client.target.units import Unit


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Outcome of a run."""

    records: int
    """Records that exist and did not fail."""
    failed: int
    """Records that failed."""
    first_error: str
    """Cause of the first failed record; empty if none failed."""
    retryable: int = 0
    """Failed records that may succeed when the command is rerun."""
    left_out: tuple[LeftOut, ...] = ()
    """Files of the image folder that could not be planned."""


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs one plan into one ledger."""

    plan: Plan
    """The plan to run."""
    ledger: Ledger
    """Destination of the records."""
    gallery: Gallery
    """Destination of the images."""
    services: Services
    """What executes the units."""
    computation: Computation = ON_CPU
    """The device and settings of local gradients."""
    left_out: tuple[LeftOut, ...] = ()
    """Files of the image folder that could not be planned."""

    @property
    def steps(self) -> int:
        """Count the steps of the whole plan, for a progress bar: clean scores and records."""
        return self.plan.clean_scores + self.plan.records

    def run(self, progress: Progress) -> Summary:
        """Do all remaining work.

        Raises:
            ServerGoneError: the server stayed unreachable, or came back with another archive; finished work is kept.
            ServerError: the server refuses this caller.
        """
        clean = self._clean_scores(progress)
        done = self.ledger.done()
        for unit in self.plan.units():
            keys = self.plan.keys(unit)
            missing = tuple(key for key in keys if key not in done)
            progress(len(keys) - len(missing), f"{unit.attack.name} through {unit.attacked_through}")
            if missing:
                self._execute(unit, missing, clean)
            else:
                self.gallery.finish(unit)
            progress(len(missing), "")
        return self._summary()

    def _execute(self, unit: Unit, missing: tuple[RecordKey, ...], clean: dict[CleanKey, CleanScore]) -> None:
        wanted = {key: clean[key] for image in unit.images for key in self._clean_keys(unit.metric, image.name)}
        shown = frozenset(image.name for image in unit.images if self.gallery.shows(image.name))
        work = UnitWork(unit=unit, keys=missing, clean=wanted, seed=self.plan.seed, shown=shown)
        result = execute(work, self.services)
        for image in result.images:
            self.gallery.keep(image)
        self.ledger.add_unit(result.records, result.unrepeatable)
        for part in result.finished:
            self.gallery.finish(part)
        if result.gone is not None:
            raise result.gone

    def _clean_scores(self, progress: Progress) -> dict[CleanKey, CleanScore]:
        known = {score.key: score for score in self.ledger.clean() if not score.error}
        progress(len(known), "clean images")
        for image in self.plan.images:
            for metric in self.plan.names:
                missing = tuple(key for key in self._clean_keys(metric, image.name) if key not in known)
                if missing:
                    work = CleanWork(
                        metric=metric,
                        image=image,
                        keys=missing,
                        seed=self.plan.seed,
                        shown=self.gallery.shows(image.name),
                    )
                    result = score_clean(work, self.services)
                    for shown in result.images:
                        self.gallery.keep(shown)
                    self.ledger.add_clean(result.scores)
                    known |= {score.key: score for score in result.scores}
                    progress(len(missing), f"clean {image.name}")
        return known

    def _clean_keys(self, metric: str, image: str) -> list[CleanKey]:
        return self.plan.clean_keys(self.plan.metric(metric), image)

    def _summary(self) -> Summary:
        failures = self.ledger.failures()
        return Summary(
            records=self.ledger.count(),
            failed=len(failures),
            first_error=failures[0][0] if failures else "",
            retryable=sum(retryable for _, retryable in failures),
            left_out=self.left_out,
        )
