"""`scoreguard-export`: train, build and verify what the server serves."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Final

import click

from scoreguard import console
from scoreguard.v1.errors import ContractError
from scoreguard_export.errors import ExportError

_COMMANDS: Final = ("build", "verify", "catalogue", "train", "evaluate")


class _LazyGroup(click.Group):
    """Imports a subcommand when it is asked for: `--help` must not wait for torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"scoreguard_export.commands.{cmd_name}").command
        return command


@click.group(
    cls=_LazyGroup,
    epilog="Example: scoreguard-export build --metrics lite --defences all --model-store model_store",
)
def cli() -> None:
    """Export metrics and defences to archives that prove what they are."""


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the console command."""
    sys.exit(console.run(cli, errors=(ExportError, ContractError, OSError), argv=argv))
