"""What a command says about the device that it was asked for."""

from __future__ import annotations

import click

from scoreguard.chain.devices import AUTO, Device


def announce(asked: str, device: Device) -> None:
    """Say on standard error what `auto` took."""
    if asked == AUTO:
        click.echo(device.announcement, err=True)
