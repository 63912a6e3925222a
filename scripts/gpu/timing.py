"""Images per second of a run on any device: warmed up, in rounds, each round waited for."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch

from scoreguard.chain.devices import CPU, CUDA

_SLICE_SECONDS: Final = 0.1
"""In each round a run is repeated for about this long."""
_ROUNDS: Final = 7
_QUICK_ROUNDS: Final = 2
_QUICK_SLICE_SECONDS: Final = 0.005
_PATIENCE: Final = 4.0
"""How many times the time for a run its first call may take, with the graph's loading, before it is the only one."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """The speed of one run."""

    per_second: float
    """Images per second: the median over rounds."""
    lowest: float
    """Of the slowest round."""
    highest: float
    """Of the fastest round."""
    rounds: int
    """0 = the time sufficed for the first call only, which loads the graph."""
    first_seconds: float
    """Time of the first call, with the loading of the graph."""


def measured(run: Callable[[], Any], images: int, device: torch.device, *, seconds: float, quick: bool) -> Speed:
    """Time a run: two calls to warm up, then rounds until `seconds` have passed.

    Args:
        run: what is timed.
        images: images of one call.
        device: where it runs.
        seconds: no round begins after this long.
        quick: whether to take few short rounds.
    """
    started = time.perf_counter()
    first = timed(run, 1, device)
    if time.perf_counter() - started > _PATIENCE * seconds:
        return _speed([images / first], rounds=0, first_seconds=first)
    warm = timed(run, 1, device)
    calls = max(1, int((_QUICK_SLICE_SECONDS if quick else _SLICE_SECONDS) / max(warm, 1e-6)))
    speeds: list[float] = []
    for _ in range(_QUICK_ROUNDS if quick else _ROUNDS):
        if time.perf_counter() - started > seconds:
            break
        speeds.append(images / timed(run, calls, device))
    speeds = speeds or [images / warm]
    return _speed(speeds, rounds=len(speeds), first_seconds=first)


def _speed(speeds: list[float], *, rounds: int, first_seconds: float) -> Speed:
    return Speed(
        per_second=statistics.median(speeds),
        lowest=min(speeds),
        highest=max(speeds),
        rounds=rounds,
        first_seconds=first_seconds,
    )


def timed(run: Callable[[], Any], calls: int, device: torch.device) -> float:
    """Return the seconds per call, once everything has been computed."""
    wait(device)
    started = time.perf_counter()
    for _ in range(calls):
        result = run()
        if device.type not in (CPU, CUDA):
            result.cpu()  # a device that computes only what is read
    wait(device)
    return (time.perf_counter() - started) / calls


def wait(device: torch.device) -> None:
    """Wait until a GPU has computed everything that it was given."""
    if device.type == CUDA:
        torch.cuda.synchronize(device)
