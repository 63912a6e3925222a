"""Run a plan: score the clean images, then execute unit after unit, and write what becomes of each.

What became of a unit is written in one transaction. Recorded work is never repeated; a killed run resumes when it is
started again. Failed records carry their cause and are retried on the next start.

Several processes may run one plan into one directory: each takes the units that no other has taken. If the server
becomes unreachable, the run waits, and repeats the interrupted work once it is back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from scoreguard_client.campaign.clean_scores import CleanWork, score_clean
from scoreguard_client.campaign.execute import UnitWork, execute
from scoreguard_client.campaign.gallery import Gallery
from scoreguard_client.campaign.leases import Claim
from scoreguard_client.campaign.ledger import Ledger
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.planned_metric import PlannedMetric
from scoreguard_client.campaign.records import CleanKey, RecordKey
from scoreguard_client.campaign.results import ShownImage
from scoreguard_client.campaign.services import Services
from scoreguard_client.oracles.computing import ON_CPU, Computation
from scoreguard_client.progress import Progress
from scoreguard_client.target.images import ImageRef, LeftOut
from scoreguard_client.target.units import Unit

_POLL_SECONDS: Final = 0.2
"""How often to ask whether work of another process is done."""

_Work = TypeVar("_Work")


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
        """Do all remaining work, and wait for what other processes have taken of it.

        Raises:
            ServerGoneError: the server stayed unreachable, or came back with another archive; finished work is kept.
            ServerError: the server refuses this caller.
        """
        plan = self.plan
        with self.ledger.sharing():
            progress(0, "clean images")
            images = [(metric, image) for image in plan.images for metric in plan.metrics]
            _do_all(images, lambda work: self._score_clean(*work, progress))
            _do_all(plan.units(), lambda unit: self._execute(unit, progress))
        return self._summary()

    def _score_clean(self, metric: PlannedMetric, image: ImageRef, progress: Progress) -> bool:
        """Take the clean scores of an image that are missing; False if another process is at it."""
        keys, name = self.plan.clean_keys(metric, image.name), f"clean {metric.name} {image.name}"
        if self._missing_clean(keys):
            claim = self.ledger.claim(name)
            if claim is Claim.BUSY:
                return False
            if claim is Claim.MINE and (missing := self._missing_clean(keys)):
                work = CleanWork(
                    metric=metric.name,
                    image=image,
                    keys=missing,
                    seed=self.plan.seed,
                    shown=self.gallery.shows(image.name),
                )
                result = score_clean(work, self.services)
                self._keep(result.images)
                self.ledger.add_clean(result.scores, lease=name)
        progress(len(keys), f"clean {image.name}")
        return True

    def _missing_clean(self, keys: Sequence[CleanKey]) -> tuple[CleanKey, ...]:
        known = self.ledger.clean_of(keys)
        return tuple(key for key in keys if key not in known or known[key].error)

    def _execute(self, unit: Unit, progress: Progress) -> bool:
        """Make the records of a unit that are missing; False if another process is at it."""
        keys, doing = self.plan.keys(unit), f"{unit.attack.name} through {unit.attacked_through}"
        if missing := self.ledger.missing(keys):
            claim = self.ledger.claim(unit.key)
            if claim is Claim.BUSY:
                return False
            if claim is Claim.MINE and (missing := self.ledger.missing(keys)):
                progress(len(keys) - len(missing), doing)
                self._make(unit, missing)
                progress(len(missing), "")
                return True
        self.gallery.finish(unit)
        progress(len(keys), doing)
        return True

    def _make(self, unit: Unit, missing: Sequence[RecordKey]) -> None:
        metric = self.plan.metric(unit.metric)
        clean = self.ledger.clean_of(key for image in unit.images for key in self.plan.clean_keys(metric, image.name))
        shown = frozenset(image.name for image in unit.images if self.gallery.shows(image.name))
        work = UnitWork(unit=unit, keys=tuple(missing), clean=clean, seed=self.plan.seed, shown=shown)
        result = execute(work, self.services)
        self._keep(result.images)
        self.ledger.add_unit(result.records, result.unrepeatable, lease=unit.key)
        for part in result.finished:
            self.gallery.finish(part)
        if result.gone is not None:
            raise result.gone

    def _keep(self, images: Iterable[ShownImage]) -> None:
        for image in images:
            self.gallery.keep(image)

    def _summary(self) -> Summary:
        failures = self.ledger.failures()
        return Summary(
            records=self.ledger.count(),
            failed=len(failures),
            first_error=failures[0][0] if failures else "",
            retryable=sum(retryable for _, retryable in failures),
            left_out=self.left_out,
        )


def _do_all(works: Iterable[_Work], attempt: Callable[[_Work], bool]) -> None:
    """Attempt every work; those that another process holds are attempted again until it is done with them, or gone."""
    waiting = [work for work in works if not attempt(work)]
    while waiting:
        time.sleep(_POLL_SECONDS)
        waiting = [work for work in waiting if not attempt(work)]
