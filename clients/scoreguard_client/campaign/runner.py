"""Run a plan: score the clean images, then execute unit after unit, and write what becomes of each.

What became of a unit is written in one transaction. Recorded work is never repeated; a killed run resumes when it is
started again. Failed records carry their cause and are retried on the next start.

Several processes may run one plan into one directory: each takes the units that no other has taken. If the server
becomes unreachable, the run waits, and repeats the interrupted work once it is back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from scoreguard_client.campaign.clean_scores import CleanWork
from scoreguard_client.campaign.execute import UnitWork
from scoreguard_client.campaign.gallery import Gallery
from scoreguard_client.campaign.leases import Claim
from scoreguard_client.campaign.ledger import Ledger
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.planned_metric import PlannedMetric
from scoreguard_client.campaign.records import CleanKey
from scoreguard_client.campaign.results import CleanResult
from scoreguard_client.campaign.tasks import Pool, Result, Task
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
    pool: Pool
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
            self._do_all(images, lambda work: self._begin_clean(*work, progress), progress)
            self._do_all(plan.units(), lambda unit: self._begin(unit, progress), progress)
        return self._summary()

    def _do_all(self, works: Iterable[_Work], begin: Callable[[_Work], Task | Claim], progress: Progress) -> None:
        """Execute what is to do; works that another process holds are asked for until it is done with them, or gone."""
        waiting = list(works)
        while waiting:
            busy: list[_Work] = []
            with closing(self.pool.run(_tasks(waiting, begin, busy))) as results:
                for task, result in results:
                    self._finish(task, result)
                    progress(len(task.keys), "")
            waiting = busy
            time.sleep(_POLL_SECONDS if waiting else 0)

    def _begin_clean(self, metric: PlannedMetric, image: ImageRef, progress: Progress) -> CleanWork | Claim:
        """Take the clean scores of an image that are missing."""
        keys = self.plan.clean_keys(metric, image.name)
        work = CleanWork(
            metric=metric.name,
            image=image,
            keys=self._missing_clean(keys),
            seed=self.plan.seed,
            shown=self.gallery.shows(image.name),
        )
        claim = self.ledger.claim(work.lease) if work.keys else Claim.ENDED
        if claim is Claim.MINE:
            # Another process may have done it since.
            work = replace(work, keys=self._missing_clean(keys))
        if claim is not Claim.BUSY:
            left = len(work.keys) if claim is Claim.MINE else 0
            progress(len(keys) - left, f"clean {image.name}")
        return work if claim is Claim.MINE and work.keys else claim

    def _missing_clean(self, keys: Sequence[CleanKey]) -> tuple[CleanKey, ...]:
        known = self.ledger.clean_of(keys)
        return tuple(key for key in keys if key not in known or known[key].error)

    def _begin(self, unit: Unit, progress: Progress) -> UnitWork | Claim:
        """Take the records of a unit that are missing."""
        keys = self.plan.keys(unit)
        missing = self.ledger.missing(keys)
        claim = self.ledger.claim(unit.key) if missing else Claim.ENDED
        if claim is Claim.BUSY:
            return claim
        # Another process may have done it since.
        missing = self.ledger.missing(missing) if claim is Claim.MINE else []
        progress(len(keys) - len(missing), f"{unit.attack.name} through {unit.attacked_through}")
        if not missing:
            self.gallery.finish(unit)
            return Claim.ENDED
        metric = self.plan.metric(unit.metric)
        clean = self.ledger.clean_of(key for image in unit.images for key in self.plan.clean_keys(metric, image.name))
        shown = frozenset(image.name for image in unit.images if self.gallery.shows(image.name))
        return UnitWork(unit=unit, keys=tuple(missing), clean=clean, seed=self.plan.seed, shown=shown)

    def _finish(self, task: Task, result: Result) -> None:
        for image in result.images:
            self.gallery.keep(image)
        if isinstance(result, CleanResult):
            self.ledger.add_clean(result.scores, lease=task.lease)
            return
        self.ledger.add_unit(result.records, result.unrepeatable, lease=task.lease)
        for part in result.finished:
            self.gallery.finish(part)
        if result.gone is not None:
            raise result.gone

    def _summary(self) -> Summary:
        failures = self.ledger.failures()
        return Summary(
            records=self.ledger.count(),
            failed=len(failures),
            first_error=failures[0][0] if failures else "",
            retryable=sum(retryable for _, retryable in failures),
            left_out=self.left_out,
        )


def _tasks(works: Iterable[_Work], begin: Callable[[_Work], Task | Claim], busy: list[_Work]) -> Iterator[Task]:
    """Begin works one by one, as they are asked for, and collect those that another process holds."""
    for work in works:
        task = begin(work)
        if task is Claim.BUSY:
            busy.append(work)
        elif not isinstance(task, Claim):
            yield task
