"""Weighted fair queueing: the caller that has had least service goes first.

Each caller's work of one order of magnitude is a flow, and flows share the workers evenly by cost (Demers, Keshav &
Shenker, "Analysis and simulation of a fair queueing algorithm", 1989). A piece of work is stamped with the time at
which it would finish if all flows ran in parallel, and the earliest goes first: small work passes large work, a caller
with much work does not hold up one with little, and no work starves.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

_LEAST: Final = 1e-3
"""Minimum cost in seconds, for work that seems to cost nothing."""
_FIRST: Final = -math.inf
Flow = tuple[str, int]


class Work(Protocol):
    """An item that can be queued."""

    caller: str
    """The caller that it belongs to."""
    seconds: float
    """Estimated worker time."""


W = TypeVar("W", bound=Work)


@dataclass(eq=False, slots=True)
class _Entry(Generic[W]):
    work: W
    flow: Flow
    cost: float
    finish: float
    serial: int
    place: tuple[float, int] = field(init=False)

    def __post_init__(self) -> None:
        self.place = (self.finish, self.serial)


class FairQueue(Generic[W]):
    """Work in the order in which it should start."""

    def __init__(self) -> None:
        self._entries: dict[W, _Entry[W]] = {}
        self._finishes: dict[Flow, float] = {}
        self._active = Counter[Flow]()
        self._clock = 0.0
        self._serial = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, work: object) -> bool:
        return work in self._entries

    def __iter__(self) -> Iterator[W]:
        """Iterate over the waiting work, next first."""
        return (entry.work for entry in sorted(self._entries.values(), key=lambda entry: entry.place))

    def put(self, work: W) -> None:
        """Queue a piece of work."""
        cost = max(work.seconds, _LEAST)
        flow = work.caller, round(math.log10(cost))
        self._active[flow] += 1
        finish = self._finishes[flow] = max(self._clock, self._finishes.get(flow, 0.0)) + cost
        self._add(work, flow, cost, finish)

    def put_first(self, work: W) -> None:
        """Queue work that already had its turn, before everything else."""
        flow = work.caller, 0
        self._active[flow] += 1
        self._add(work, flow, 0.0, _FIRST)

    def start(self, work: W) -> None:
        """Remove a piece of work that starts now, and advance the flows' common clock."""
        entry = self._entries.pop(work)
        self._clock += entry.cost / max(1, len(self._active))
        self._left(entry.flow)

    def leave(self, work: W) -> None:
        """Remove a piece of work whose caller has gone, and credit its cost to its flow."""
        entry = self._entries.pop(work, None)
        if entry is None:
            return
        self._left(entry.flow)
        if entry.flow in self._finishes:
            self._finishes[entry.flow] -= entry.cost

    def last_of_greediest(self, than: str) -> W | None:
        """Return the last work of the caller with most work waiting, if it has more than another caller would have."""
        counts = Counter(entry.work.caller for entry in self._entries.values())
        caller, count = max(counts.items(), key=lambda pair: pair[1], default=("", 0))
        if caller == than or count <= counts[than] + 1:
            return None
        return max((e for e in self._entries.values() if e.work.caller == caller), key=lambda entry: entry.place).work

    def _add(self, work: W, flow: Flow, cost: float, finish: float) -> None:
        self._serial += 1
        self._entries[work] = _Entry(work, flow, cost, finish, self._serial)

    def _left(self, flow: Flow) -> None:
        self._active[flow] -= 1
        if not self._active[flow]:
            del self._active[flow]
        # Flows that have had no more service than the clock shows start afresh.
        for idle in [f for f, finish in self._finishes.items() if finish <= self._clock and f not in self._active]:
            del self._finishes[idle]
