"""A progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

_TENTHS = 10


@contextmanager
def counted(label: str, total: int, console: Console | None = None) -> Iterator[Callable[[str], None]]:
    """Count steps on standard error; call the yielded function with the name of each finished one."""
    console = console or Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(label, total=total)
        count = 0

        def done(name: str) -> None:
            nonlocal count
            count += 1
            bar.update(task, completed=count, description=f"{label} {name}")
            if not console.is_terminal:
                console.print(f"{label} {count}/{total}: {name}", highlight=False)

        yield done


@contextmanager
def transferred(label: str, console: Console | None = None) -> Iterator[Callable[[int, int | None], None]]:
    """Show a transfer on standard error; call the yielded function with the bytes so far and the total, if known.

    Without a terminal, one line is written for each tenth.
    """
    console = console or Console(stderr=True)
    columns = (TextColumn(label), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task, told = bar.add_task(label, total=None), -1

        def moved(done: int, total: int | None) -> None:
            nonlocal told
            bar.update(task, completed=done, total=total)
            tenth = _TENTHS * done // total if total else 0
            if not console.is_terminal and tenth > told:
                told = tenth
                console.print(f"{label} {_share(done, total)}", highlight=False)

        yield moved


def _share(done: int, total: int | None) -> str:
    return f"{done / 1e6:.1f} of {total / 1e6:.1f} MB" if total else f"{done / 1e6:.1f} MB"
