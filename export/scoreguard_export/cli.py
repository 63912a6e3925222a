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

_EXTRA_OF: Final = {
    "build": "export",
    "verify": "export",
    "catalogue": "export",
    "weights": "export",
    "train": "train",
    "fit": "train",
    "evaluate": "train",
}
"""Every subcommand with the optional part of the installation that it needs."""
_OURS: Final = "scoreguard"


class _LazyGroup(click.Group):
    """Imports a subcommand when it is asked for: `--help` must not wait for torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_EXTRA_OF)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _EXTRA_OF:
            return None
        try:
            command: click.Command = importlib.import_module(f"scoreguard_export.commands.{cmd_name}").command
        except ModuleNotFoundError as error:
            raise _missing(cmd_name, error) from error
        return command


def _missing(command: str, error: ModuleNotFoundError) -> Exception:
    if (error.name or "").startswith(_OURS):
        return error
    extra = _EXTRA_OF[command]
    return ExportError(f"scoreguard-export {command} needs pip install 'scoreguard[{extra}]' (no module {error.name})")


@click.group(
    cls=_LazyGroup,
    epilog="Example: scoreguard-export build --metrics lite --defences all --model-store model_store",
)
def cli() -> None:
    """Export metrics and defences to archives that prove what they are."""


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the console command."""
    sys.exit(console.run(cli, errors=(ExportError, ContractError, OSError), argv=argv))
