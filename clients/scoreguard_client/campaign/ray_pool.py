"""Executes the units of a campaign as tasks of Ray: on the processors of this machine, or of a cluster.

Tasks are values, and so are their results, which the process that runs the campaign writes into its ledger as they
come: a worker or a node that dies takes nothing with it but the tasks that it was at, and Ray starts those elsewhere.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from scoreguard.v1.errors import ContractError
from scoreguard_client._exceptions import ScoreguardError
from scoreguard_client._extras import require_ray
from scoreguard_client.campaign.errors import WorkerDiedError
from scoreguard_client.campaign.services import Services
from scoreguard_client.campaign.tasks import Result, Task, failed_task, run_task
from scoreguard_client.target.crafting import CraftedBatch
from scoreguard_client.target.errors import PlanError
from scoreguard_client.target.units import Unit

TRIES: Final = 3
"""How often a task is started before the death of its workers counts as its failure."""
_SHOWN: Final = 200
_ANSWER_SECONDS: Final = 10.0
_STARTS: Final = 2
"""How often Ray is started on this machine: its processes sometimes do not come up beside threads of gRPC."""

Keep = Callable[[Unit, CraftedBatch], None]
"""Keeps an attacked batch."""


@contextmanager
def connected(address: str, workers: int | None) -> Iterator[None]:
    """Connect to Ray, or start it on this machine and end it afterwards; a connection that there is stays.

    Args:
        address: address of a running cluster, or `auto`; empty = start one here.
        workers: processors to use of this machine; None = all.

    Raises:
        MissingExtraError: Ray is not installed.
        PlanError: there is no Ray at the address.
    """
    ray = require_ray()
    if ray.is_initialized():
        yield
        return
    for left in reversed(range(1 if address else _STARTS)):
        try:
            _connect(ray, address, workers)
            break
        except Exception as error:  # Ray raises that itself where its processes do not start in time
            ray.shutdown()
            if not left:
                place = f"at {address}" if address else "on this machine"
                raise PlanError(f"no Ray {place}: {' '.join(str(error).split())[:_SHOWN]}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str, workers: int | None) -> None:
    where = {"address": address} if address else {"address": "local", "num_cpus": workers, "include_dashboard": False}
    ray.init(**where, log_to_driver=False, logging_level="ERROR")


def check_ray(address: str) -> None:
    """Refuse an address where nothing answers at once: Ray itself would try for minutes.

    Raises:
        MissingExtraError: Ray is not installed.
        PlanError: nothing answers.
    """
    require_ray()
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS).close()
    except OSError as error:
        raise PlanError(f"no Ray at {address}: {error.strerror or error}") from error


@dataclass(frozen=True, kw_only=True)
class RayPool:
    """Executes tasks on the Ray that this process is connected to."""

    services: Sequence[Services]
    """What executes them; with several endpoints, those of each, in turn."""
    workers: int | None = None
    """Tasks at a time; None = as many as Ray has processors."""
    keep: Keep | None = None
    """Keeps the attacked batches; None = they stay where they were made, and are lost."""
    name: str = field(default_factory=lambda: secrets.token_hex(8))
    """What its workers know the services by."""

    def run(self, tasks: Iterable[Task]) -> Generator[tuple[Task, Result], None, None]:
        """Execute tasks; one that kills its worker again and again has a failed result.

        Raises:
            ServerGoneError: the server went away while clean images were scored.
            ServerError: the server refuses this caller.
        """
        ray = require_ray()
        remote = ray.remote(max_retries=TRIES - 1, num_cpus=1)(_in_worker)
        many = self.workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        sent = [ray.put(services) for services in self.services]
        running: dict[Any, Task] = {}
        source, turn, fatal = iter(tasks), 0, None
        try:
            while True:
                while fatal is None and len(running) < many and (task := next(source, None)) is not None:
                    number, turn = turn % len(sent), turn + 1
                    # Inside a list the reference is not resolved: each worker fetches the services once.
                    reference = remote.remote(f"{self.name}-{number}", [sent[number]], task, self.keep is not None)
                    running[reference] = task
                if not running:
                    break
                (ready, *_), _ = ray.wait(list(running), num_returns=1)
                task = running.pop(ready)
                done = _outcome(ray, ready, task)
                fatal = fatal or done.error
                if done.result is not None:
                    for unit, batch in done.batches:
                        if self.keep is not None:
                            self.keep(unit, batch)
                    yield task, done.result
        finally:
            for reference in running:
                ray.cancel(reference, force=True)
        if fatal is not None:
            raise fatal


@dataclass(frozen=True)
class _Done:
    """What a task sends back."""

    result: Result | None
    """The result; None if the whole campaign must end."""
    error: Exception | None = None
    """Why it must."""
    batches: tuple[tuple[Unit, CraftedBatch], ...] = ()
    """Its attacked images, if they are kept."""


@dataclass(frozen=True)
class _Recorder:
    """Keeps the attacked images of one task, to send them back."""

    batches: list[tuple[Unit, CraftedBatch]] = field(default_factory=list)

    def has(self, unit: Unit) -> bool:
        del unit
        return False

    def load(self, unit: Unit) -> CraftedBatch | None:
        del unit
        return None

    def save(self, unit: Unit, batch: CraftedBatch) -> None:
        self.batches.append((unit, batch))


def _outcome(ray: Any, reference: Any, task: Task) -> _Done:
    try:
        done: _Done = ray.get(reference)
    except ray.exceptions.RayTaskError:
        raise  # a mistake of the program, with the worker's traceback
    except ray.exceptions.RayError as error:
        return _Done(failed_task(task, WorkerDiedError(TRIES, type(error).__name__)))
    return done


_services: dict[str, Services] = {}
"""The services that this worker has fetched: archives are loaded once for all of its tasks."""


def _in_worker(name: str, services: list[Any], task: Task, keep: bool) -> _Done:
    if name not in _services:
        _services[name] = require_ray().get(services[0])
    recorder = _Recorder()
    mine = replace(_services[name], cache=recorder) if keep else _services[name]
    try:
        return _Done(run_task(task, mine), batches=tuple(recorder.batches))
    except (ScoreguardError, ContractError) as error:
        return _Done(None, error)
