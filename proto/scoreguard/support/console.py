"""Helpers shared by the three commands: bad input gives one clear line and exit code 2, never a traceback."""

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
"""Line width in characters when no window limits it: wider than any table."""


def version_option(program: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option `--version` of every command: its name and the installed version."""
    return click.version_option(package_name=DISTRIBUTION, prog_name=program, message="%(prog)s %(version)s")


def output() -> Console:
    """Return the console for tables: as wide as the terminal, or as wide as the table if the output is a file or pipe.

    Folded or truncated cells would mislead a program that reads the file: `jpeg:quality=5` is not `jpeg:quality=50`.
    """
    from rich.console import Console  # commands that print no table start without it

    console = Console()
    return console if console.is_terminal else Console(width=_UNFOLDED)


def width_of(table: Table) -> int:
    """Return the line width in characters at which no table cell is folded or truncated."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console(width=_UNFOLDED)
    return Measurement.get(console, console.options, table).maximum


def say_broken(*catalogues: Catalogue[Any]) -> None:
    """Print one line on stderr for each class of another package that is left out of a list."""
    for error in (error for catalogue in catalogues for error in catalogue.broken()):
        click.echo(f"notice: {error}", err=True)


def json_text(content: Any) -> str:
    """Return content as JSON on one line; numbers that are not finite become null, since JSON has no others."""
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
        errors: the exceptions whose message is for the user; anything else is a bug and shows its traceback.
        argv: the arguments; None = those of the process.
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
    """Let file names that are not valid text be printed without an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _say(message: str, code: int) -> int:
    line = " ".join(message.split())
    print(f"error: {line}", file=sys.stderr)
    return code
