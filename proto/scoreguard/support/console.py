"""What the three commands share: bad input gives one clear line and exit code 2, never a traceback."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from scoreguard.catalogue import Catalogue

BAD_INPUT = 2
INTERRUPTED = 130
DISTRIBUTION = "scoreguard"
_UNFOLDED = 10_000
"""Characters of a line where nobody's window ends: more than any table has."""


def version_option(program: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option `--version` of every command: its name and the version that is installed."""
    return click.version_option(package_name=DISTRIBUTION, prog_name=program, message="%(prog)s %(version)s")


def output() -> Console:
    """Where tables go: as wide as the terminal, and as wide as they are where the output is a file or a pipe.

    What reads a file has no use for a cell that is folded or cut: `jpeg:quality=5` is not `jpeg:quality=50`.
    """
    from rich.console import Console  # commands that print no table start without it

    console = Console()
    return console if console.is_terminal else Console(width=_UNFOLDED)


def width_of(table: Table) -> int:
    """Characters of a line of a table in which nothing is folded or cut."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console(width=_UNFOLDED)
    return Measurement.get(console, console.options, table).maximum


def say_broken(*catalogues: Catalogue[Any]) -> None:
    """One line on stderr for each class of another package that is left out of a list."""
    for error in (error for catalogue in catalogues for error in catalogue.broken()):
        click.echo(f"notice: {error}", err=True)


def json_text(content: Any) -> str:
    """Content as JSON on one line; numbers that are not finite become null, since JSON has no others."""
    return json.dumps(_finite(content), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def run(command: click.Command, *, errors: tuple[type[Exception], ...], argv: Sequence[str] | None = None) -> int:
    """Run a click command and return the exit code of the process.

    Args:
        command: the command.
        errors: the exceptions whose message is meant for the user; anything else is a bug and shows its traceback.
        argv: the arguments; None takes those of the process.
    """
    _print_any_name()
    try:
        result = command.main(args=None if argv is None else list(argv), standalone_mode=False)
    except click.exceptions.Abort:
        return _say("interrupted", INTERRUPTED)
    except click.ClickException as error:
        return _say(error.format_message(), BAD_INPUT)
    except errors as error:
        return _say(str(error), BAD_INPUT)
    return result if isinstance(result, int) else 0


def _print_any_name() -> None:
    """Names of files need not be valid text; printing one must not be an error of its own."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _say(message: str, code: int) -> int:
    line = " ".join(message.split())
    print(f"error: {line}", file=sys.stderr)
    return code
