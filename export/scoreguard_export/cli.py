"""`scoreguard-export`: train, build and verify what the server serves."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from scoreguard.support import console
from scoreguard.v1.errors import ContractError
from scoreguard_export.errors import ExportError


@dataclass(frozen=True, kw_only=True)
class _Entry:
    summary: str
    """One line for `scoreguard-export --help`."""
    extra: str
    """The package extra that it needs."""


COMMANDS: Final = {
    "build": _Entry(summary="Export metrics and defences to archives that the server serves.", extra="export"),
    "verify": _Entry(summary="Verify every archive of a model store.", extra="export"),
    "prune": _Entry(summary="Remove graphs that no archive of a model store uses.", extra="export"),
    "catalogue": _Entry(summary="List every metric and defence with its facts.", extra="export"),
    "calibrate": _Entry(summary="Measure the range of a metric's scores on images.", extra="export"),
    "weights": _Entry(summary="List, fetch, add, convert and verify weights.", extra="export"),
    "train": _Entry(summary="Train a shipped metric or defence.", extra="train"),
    "fit": _Entry(summary="Fit a shipped model of pristine photographs.", extra="train"),
    "evaluate": _Entry(summary="Compare a metric with human ratings.", extra="train"),
}
"""Every subcommand, in the order of the help."""
_OURS: Final = "scoreguard"


class _LazyGroup(click.Group):
    """Imports a subcommand only when it is used: `--help` must neither need torch nor wait for it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        try:
            command: click.Command = importlib.import_module(f"scoreguard_export.commands.{cmd_name}").command
        except ModuleNotFoundError as error:
            raise _missing(cmd_name, error) from error
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            raise _missing(ctx.invoked_subcommand or "", error) from error


def _missing(command: str, error: ModuleNotFoundError) -> Exception:
    if (error.name or "").startswith(_OURS) or command not in COMMANDS:
        return error
    extra = COMMANDS[command].extra
    return ExportError(f"scoreguard-export {command} needs pip install 'scoreguard[{extra}]' (no module {error.name})")


@click.group(
    cls=_LazyGroup,
    epilog="Example: scoreguard-export build --metrics lite --defences all --model-store model_store",
)
@console.version_option("scoreguard-export")
def cli() -> None:
    """Export metrics and defences to self-verifying archives."""


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the console command."""
    sys.exit(console.run(cli, errors=(ExportError, ContractError, OSError), argv=argv))
