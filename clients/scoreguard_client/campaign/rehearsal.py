"""What a campaign would do, and what it would cost: estimated from one image that goes through all of it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from scoreguard_client.attacks.base import Needs
from scoreguard_client.campaign.differences import differences
from scoreguard_client.campaign.errors import PlanMismatchError
from scoreguard_client.campaign.facts import SHOWN_IMAGES
from scoreguard_client.campaign.gallery import Gallery
from scoreguard_client.campaign.ledger import FILE_NAME, IMAGES, Ledger
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.planning import Prepared
from scoreguard_client.campaign.records import Record, RecordKey
from scoreguard_client.campaign.runner import Runner
from scoreguard_client.campaign.tasks import ThisProcess
from scoreguard_client.progress import Progress
from scoreguard_client.target.units import Unit

_FORMS: Final = 2
"""An attacked image is scored as float and rounded to 8 bits."""
_ROWS: Final = 2000
"""Records whose size on disk is measured: enough that whole pages do not matter."""


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What would run."""

    metrics: int
    images: int
    attacks: int
    units: int
    """One attack on one metric through one chain, with a few images."""
    records: int
    """Records of the finished run."""
    there: int
    """Those that are there already."""
    clean_scores: int
    """Scores of clean images."""
    scoring_calls: int
    """Calls to the server for the scores of clean and attacked images."""
    attack_calls: int
    """Calls to the server by attacks, as many for each image as for the probe; local gradients make none."""
    probe: str
    """The image that was attacked to measure."""
    probe_seconds: float
    """How long it took with everything."""
    probe_failed: int
    """Records of the probe that failed."""
    first_error: str
    """Cause of the first of them."""
    seconds: float
    """Estimated time of what is missing: the probe's, by the number of pixels."""
    disk_bytes: int
    """Estimated size of the finished run."""


def rehearse(prepared: Prepared, begin: Callable[[Runner], Progress]) -> Rehearsal:
    """Attack one image with everything a plan has, in a folder that is deleted, and extrapolate.

    Args:
        prepared: the plan, and what it needs.
        begin: called with the runner of the one image before it starts; returns where its progress goes.

    Raises:
        PlanMismatchError: the run directory belongs to another plan.
        RunError: it cannot be read.
        ServerError: the server is unreachable, or refuses this caller.
    """
    plan, there = prepared.plan, _there(prepared)
    # Sizes differ: the middle one says more than the first.
    probe = sorted(plan.images, key=lambda image: image.height * image.width)[len(plan.images) // 2]
    alone = replace(plan, images=(probe,))
    with tempfile.TemporaryDirectory() as folder:
        run, started = Path(folder), time.perf_counter()
        with Ledger.create(run, alone, prepared.facts) as ledger:
            gallery = Gallery(run, (probe.name,), prepared.options.keep_all)
            runner = Runner(plan=alone, ledger=ledger, gallery=gallery, pool=ThisProcess(prepared.services(gallery)))
            summary = runner.run(begin(runner))
            records = ledger.records()
        seconds, kept = time.perf_counter() - started, _size(run / IMAGES)
    pixels = sum(image.height * image.width for image in plan.images) / (probe.height * probe.width)
    shown = pixels if prepared.options.keep_all or prepared.options.keep_attacked else min(pixels, SHOWN_IMAGES)
    return Rehearsal(
        metrics=len(plan.metrics),
        images=len(plan.images),
        attacks=len(plan.attacks),
        units=sum(1 for _ in plan.units()),
        records=plan.records,
        there=there,
        clean_scores=plan.clean_scores,
        scoring_calls=plan.clean_scores + sum(_scored(plan.keys(unit)) for unit in plan.units()),
        attack_calls=len(plan.images) * _attack_calls(prepared, alone, records),
        probe=probe.name,
        probe_seconds=seconds,
        probe_failed=summary.failed,
        first_error=summary.first_error,
        seconds=seconds * pixels * (1 - there / max(1, plan.records)),
        disk_bytes=round(kept * shown + plan.records * _bytes_a_record(alone, records)),
    )


def _there(prepared: Prepared) -> int:
    """Count the records that a run has already."""
    out = prepared.options.out
    if not (out / FILE_NAME).is_file():
        return 0
    with Ledger.open(out) as ledger:
        known = prepared.base.plan if prepared.base else prepared.plan
        if ledger.plan != known:
            raise PlanMismatchError(out, differences(ledger.plan, known))
        return ledger.count()


def _scored(keys: Sequence[RecordKey]) -> int:
    """Count the calls for a unit's scores: two for each record, and for f(x') where no record is undefended."""
    return _FORMS * len({*keys, *(key.undefended for key in keys)})


def _attack_calls(prepared: Prepared, alone: Plan, records: Sequence[Record]) -> int:
    queries = {(r.metric, r.attack, r.attacked_through): r.queries or 0 for r in records}
    local = {source.metric.name for source in prepared.sources if source.surrogate is not None}

    def asks_the_server(unit: Unit) -> bool:
        return not (unit.metric in local and unit.attack.needs is Needs.GRADIENT)

    units = (unit for unit in alone.units() if asks_the_server(unit))
    return sum(queries.get((unit.metric, str(unit.attack), unit.attacked_through), 0) for unit in units)


def _bytes_a_record(plan: Plan, records: Sequence[Record]) -> float:
    """Measure how much of the ledger's file a record takes."""
    copies = -(-_ROWS // max(1, len(records)))
    rows = [replace(record, image=f"{number}-{record.image}") for number in range(copies) for record in records]
    with tempfile.TemporaryDirectory() as folder:
        with Ledger.create(Path(folder), plan, {}) as ledger:
            ledger.add_records(rows)
        return _size(Path(folder)) / max(1, len(rows))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
