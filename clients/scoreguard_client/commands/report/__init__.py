"""`scoreguard report`: make a report of a campaign, and what can be done with reports that exist."""

from __future__ import annotations

from typing import Final

import click

from scoreguard_client.commands.report import diff, make, verify

_DEFAULT: Final = "make"


class _Report(click.Group):
    """A group whose first command needs no name: `report RUN` is `report make RUN`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the name of the first command in front, unless there is one."""
        named = bool(args) and args[0] in {*self.commands, *ctx.help_option_names}
        return super().parse_args(ctx, args if named else [_DEFAULT, *args])

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help of the first command, then the names of the others."""
        self.commands[_DEFAULT].format_help(ctx, formatter)
        self.format_commands(ctx, formatter)


command: Final = _Report("report", commands={_DEFAULT: make.command, "diff": diff.command, "verify": verify.command})
