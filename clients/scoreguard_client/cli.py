"""The client command `scoreguard`.

A subcommand is imported when it is run, so the light ones work without the dependencies of the heavy ones.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from scoreguard.support import console
from scoreguard.v1.errors import ContractError
from scoreguard_client._exceptions import MissingExtraError, ScoreguardError


@dataclass(frozen=True, kw_only=True)
class _Entry:
    module: str
    """Module of `command`."""
    summary: str
    """One line for `scoreguard --help`."""
    extra: str = ""
    """The extra (optional part of the installation) that it needs."""


COMMANDS: Final[dict[str, _Entry]] = {
    "score": _Entry(module="scoreguard_client.commands.score", summary="Score images behind defences."),
    "catalogue": _Entry(module="scoreguard_client.commands.catalogue", summary="List what a server has deployed."),
    "attack": _Entry(
        module="scoreguard_client.commands.attack", summary="Run an attack campaign on a server.", extra="attacks"
    ),
    "report": _Entry(
        module="scoreguard_client.commands.report", summary="Turn a campaign into robustness scores.", extra="attacks"
    ),
    "challenge": _Entry(
        module="scoreguard_client.commands.challenge",
        summary="Add somebody's adversarial images to a campaign.",
        extra="attacks",
    ),
    "dataset": _Entry(
        module="scoreguard_client.commands.dataset",
        summary="Publish the attacked images of a campaign.",
        extra="attacks",
    ),
    "domain": _Entry(
        module="scoreguard_client.commands.domain", summary="Map scores onto a reference metric.", extra="attacks"
    ),
    "merge": _Entry(
        module="scoreguard_client.commands.merge", summary="Put runs of one campaign together.", extra="attacks"
    ),
    "showcase": _Entry(
        module="scoreguard_client.commands.showcase", summary="Show a photo behind every defence.", extra="attacks"
    ),
    "uap": _Entry(module="scoreguard_client.commands.uap", summary="Train universal perturbations.", extra="attacks"),
    "attacks": _Entry(module="scoreguard_client.commands.attacks", summary="List the attacks and their parameters."),
    "bench": _Entry(module="scoreguard_client.commands.bench", summary="Measure throughput and latency of a server."),
}
_OURS: Final = "scoreguard"


class LazyGroup(click.Group):
    """A group that imports its commands on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command.

        Raises:
            MissingExtraError: it needs an optional part of the installation.
        """
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        try:
            command: click.Command = importlib.import_module(entry.module).command
        except ModuleNotFoundError as error:
            raise _missing(cmd_name, error) from error
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command.

        Raises:
            MissingExtraError: it needs an optional part of the installation.
        """
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            raise _missing(ctx.invoked_subcommand or "", error) from error


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    epilog="""\b
Example:
  scoreguard score photo.png --metric lite --defence jpeg:quality=50
""",
)
@console.version_option("scoreguard")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Score images on a scoreguard server, attack it, and report how robust its scores are."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 2 after bad input, with one line that says what to do."""
    return console.run(command, errors=(ScoreguardError, ContractError), argv=argv)


def _missing(name: str, error: ModuleNotFoundError) -> Exception:
    module = (error.name or "").partition(".")[0]
    entry = COMMANDS.get(name)
    if entry is None or not entry.extra or module.startswith(_OURS):
        return error  # Not a missing extra but a broken installation, for which the traceback helps.
    return MissingExtraError(f"scoreguard {name}", entry.extra, module)
