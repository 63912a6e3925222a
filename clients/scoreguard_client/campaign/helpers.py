"""Further processes of this machine that share a run with the one that was started: they take units by its leases."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess

from scoreguard.v1.errors import ContractError
from scoreguard_client._exceptions import CancelledError, ScoreguardError
from scoreguard_client.progress import Progress

Work = Callable[[Progress], object]
"""Runs the campaign with a progress callback; can be pickled."""


@contextmanager
def helped(work: Work, count: int) -> Iterator[None]:
    """Run work in further processes while the block runs, and end them with it.

    One that fails or is killed takes nothing with it: its units go to the others.

    Args:
        work: what each of them does.
        count: how many there are.
    """
    # A forked process would share the threads' locks and the connections of this one.
    context = multiprocessing.get_context("spawn")
    processes: list[BaseProcess] = [context.Process(target=_help, args=(work,), daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _help(work: Work) -> None:
    # An interrupt from the keyboard reaches all processes; the one that was started ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(ScoreguardError, ContractError):  # which that one meets too, and says
        work(_while_wanted)


def _while_wanted(steps: int, what: str) -> None:
    """End the work of a helper whose parent was killed: nobody would end it later."""
    del steps, what
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise CancelledError("the process that started this one is gone")
