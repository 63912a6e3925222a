"""How two plans differ, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Final

from scoreguard_client.campaign.plan import Plan
from scoreguard_client.campaign.planned_metric import PlannedMetric
from scoreguard_client.target.images import ImageRef

_SHOWN: Final = 90
_OPTIONS: Final = {"chains": "defences"}
"""Fields that people know by the name of the option that sets them."""


def differences(there: Plan, here: Plan) -> list[str]:
    """List how two plans differ, field by field, ready to print.

    Args:
        there: the plan of a run.
        here: another.
    """
    return list(_all(there, here))


def _all(there: Plan, here: Plan) -> Iterator[str]:
    for name in (field.name for field in fields(Plan)):
        mine, theirs = getattr(there, name), getattr(here, name)
        if name == "metrics":
            yield from _of_metrics(there, here)
        elif mine != theirs:
            yield _difference(name, mine, theirs)


def _of_metrics(there: Plan, here: Plan) -> Iterator[str]:
    if there.names != here.names:
        yield _difference("metric", there.names, here.names)
    several = len(there.metrics) > 1
    for metric in there.metrics:
        if metric.name in here.names:
            yield from _of_metric(metric, here.metric(metric.name), f"{metric.name}: " if several else "")


def _of_metric(there: PlannedMetric, here: PlannedMetric, prefix: str) -> Iterator[str]:
    for name in (field.name for field in fields(PlannedMetric)):
        mine, theirs = getattr(there, name), getattr(here, name)
        if mine != theirs and name != "random_chains":  # which follow from the chains and the archive
            yield prefix + _difference(name, mine, theirs)


def _difference(name: str, mine: object, theirs: object) -> str:
    if isinstance(mine, tuple) and isinstance(theirs, tuple) and name != "images" and set(mine) != set(theirs):
        # For long lists only what the other lacks is informative.
        shared = set(mine) & set(theirs)
        mine, theirs = (tuple(value for value in values if value not in shared) for values in (mine, theirs))
    return f"{_OPTIONS.get(name, name)}: {_short(mine)} there, {_short(theirs)} here"


def _short(value: object) -> str:
    if isinstance(value, tuple) and value and isinstance(value[0], ImageRef):
        return f"{len(value)} images"
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return (text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...") or "nothing"
