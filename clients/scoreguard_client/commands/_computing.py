"""The options of how local gradients are computed, of the commands that attack or train."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import click

from scoreguard.chain.devices import AUTO, Device
from scoreguard.chain.numerics import PRECISIONS
from scoreguard_client.oracles.computing import Computing

_OPTIONS: Final = (
    click.option(
        "--device",
        default=Computing.device,
        show_default=True,
        help="Device of local gradients: auto, cpu, cuda or cuda:N.",
    ),
    click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        default=Computing.precision,
        show_default=True,
        help="fp16 = half precision where the archive declares it; needs --half-gradients.",
    ),
    click.option("--half-gradients", is_flag=True, help="Allow gradients in half precision: small ones become 0."),
    click.option(
        "--tf32/--no-tf32",
        default=Computing.tf32,
        show_default=True,
        help="Let NVIDIA GPUs round factors to TF32: faster, less exact.",
    ),
    click.option(
        "--deterministic/--no-deterministic",
        default=Computing.deterministic,
        show_default=True,
        help="On a GPU, use only kernels that repeat to the last bit.",
    ),
    click.option(
        "--device-batch",
        type=click.IntRange(min=1),
        help="Draws of images that run at once; default 1 on the CPU, 16 on a GPU.",
    ),
)
_NAMES: Final = ("device", "precision", "half_gradients", "tf32", "deterministic")


def computing_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the function receives `computing` (a `Computing`)."""

    @functools.wraps(function)
    def with_computing(*args: Any, device_batch: int | None, **rest: Any) -> Any:
        values = {name: rest.pop(name) for name in _NAMES}
        return function(*args, computing=Computing(**values, batch=device_batch), **rest)

    for option in reversed(_OPTIONS):
        with_computing = option(with_computing)
    return with_computing


def announce(computing: Computing, device: Device) -> None:
    """Say on stderr which device `auto` took."""
    if computing.device == AUTO:
        click.echo(device.announcement, err=True)
