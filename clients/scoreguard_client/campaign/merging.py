"""Merge runs that are parts of one campaign: shards of a plan, a run and its extensions, or runs on other images."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeVar

from scoreguard_client.campaign.differences import differences
from scoreguard_client.campaign.errors import MergeError, RunError
from scoreguard_client.campaign.extension import narrowed
from scoreguard_client.campaign.facts import SHOWN_IMAGES, merged_facts
from scoreguard_client.campaign.ledger import FILE_NAME, IMAGES, Ledger
from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.planned_metric import PlannedMetric
from scoreguard_client.target.gradients import UNUSED

_UNFINISHED: Final = ".merging"
_Value = TypeVar("_Value")


@dataclass(frozen=True, kw_only=True)
class Merged:
    """Outcome of a merge."""

    records: int
    """Records that exist and did not fail."""
    failed: int
    """Records that failed in every run that has them."""
    missing: int
    """Records of the merged plan that no run has tried."""
    conflicts: int
    """Records that two runs have with other numbers; the first run's stayed."""


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One of the runs."""

    run: Path
    plan: Plan
    facts: dict[str, Any]


def merge(runs: Sequence[Path], out: Path) -> Merged:
    """Write a run that has the records and images of others, every record once.

    Of two sound records with one key the first run's stays; a sound one replaces one that failed. The plan is that of
    one campaign which has all the images, metrics, attacks, chains and draws of any.

    Args:
        runs: the run directories, at least one.
        out: the directory to write; it appears when the merge is complete.

    Raises:
        MergeError: the runs are not parts of one campaign: seed, archive, device or an image differ.
        RunError: a run cannot be read, or `out` is there already or cannot be written.
    """
    if out.exists():
        raise RunError(f"{out} is there already: merge into a new directory")
    parts = [_part(run) for run in runs]
    plan = _united(parts)
    unfinished = out.with_name(f".{out.name}{_UNFINISHED}")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        conflicts = _write(parts, plan, unfinished)
        unfinished.rename(out)
    except OSError as error:
        raise RunError(f"{out}: cannot be written: {error.strerror or error}") from error
    with Ledger.open(out) as ledger:
        records, failed = ledger.count(), len(ledger.failures())
    return Merged(records=records, failed=failed, missing=plan.records - records - failed, conflicts=conflicts)


def _part(run: Path) -> _Part:
    with Ledger.open(run) as ledger:
        return _Part(run=run, plan=ledger.plan, facts=ledger.facts)


def _write(parts: Sequence[_Part], plan: Plan, out: Path) -> int:
    conflicts = 0
    with Ledger.create(out, plan, _facts(parts, plan)) as ledger:
        for part in parts:
            conflicts += ledger.absorb(part.run)
            _copy_images(part.run / IMAGES, out / IMAGES)
    for leftover in out.glob(f"{FILE_NAME}-*"):  # of the log, which closing has emptied
        leftover.unlink()
    return conflicts


def _copy_images(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        copy = target / path.relative_to(source)
        # A hidden file is one that a killed process did not finish.
        if path.is_file() and not path.name.startswith(".") and not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def _facts(parts: Sequence[_Part], plan: Plan) -> dict[str, Any]:
    facts: dict[str, Any] = reduce(merged_facts, (part.facts for part in parts))
    shown = {name for part in parts for name in part.facts["shown"]}
    planned = {image.name for image in plan.images}
    left_out = {entry["name"]: entry for part in parts for entry in part.facts["left_out"]}
    return {
        **facts,
        "metrics": {name: of | {"expected": plan.records_of(name)} for name, of in facts["metrics"].items()},
        "shown": [image.name for image in plan.images if image.name in shown][:SHOWN_IMAGES],
        "left_out": [entry for name, entry in left_out.items() if name not in planned],
    }


def _united(parts: Sequence[_Part]) -> Plan:
    """Return the plan of a campaign that has everything of several, in the order of the first that has it.

    Raises:
        MergeError: they differ in more than what they have.
    """
    plans = [part.plan for part in parts]
    images = {image.name: image for plan in reversed(plans) for image in plan.images}
    names = _once(name for plan in plans for name in plan.names)
    united = replace(
        plans[0],
        metrics=tuple(_united_metric([plan.metric(name) for plan in plans if name in plan.names]) for name in names),
        attacks=_once(attack for plan in plans for attack in plan.attacks),
        images=tuple(images[name] for name in sorted(images, key=PurePosixPath)),
        adaptive=any(plan.adaptive for plan in plans),
        draws=max(plan.draws for plan in plans),
    )
    for part in parts:
        changed = next((image.name for image in part.plan.images if images[image.name] != image), None)
        found = differences(narrowed(united, part.plan), part.plan)
        if changed is not None:
            found = [f"{changed} is another image there"]
        if found:
            raise MergeError(part.run, parts[0].run, found)
    return united


def _united_metric(metrics: Sequence[PlannedMetric]) -> PlannedMetric:
    return replace(
        metrics[0],
        chains=_once(chain for metric in metrics for chain in metric.chains),
        random_chains=_once(chain for metric in metrics for chain in metric.random_chains),
        gradients=next((metric.gradients for metric in metrics if metric.gradients != UNUSED), UNUSED),
        companions=_once(companion for metric in metrics for companion in metric.companions),
    )


def _once(values: Iterable[_Value]) -> tuple[_Value, ...]:
    return tuple(dict.fromkeys(values))
