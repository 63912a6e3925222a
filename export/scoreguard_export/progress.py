"""A progress bar on a terminal, one line a step elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


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
