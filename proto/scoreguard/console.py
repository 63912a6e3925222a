"""What the three commands share: bad input gives one clear line and exit code 2, never a traceback."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

BAD_INPUT = 2
INTERRUPTED = 130
DISTRIBUTION = "scoreguard"


def version_option(program: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option `--version` of every command: its name and the version that is installed."""
    return click.version_option(package_name=DISTRIBUTION, prog_name=program, message="%(prog)s %(version)s")


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
