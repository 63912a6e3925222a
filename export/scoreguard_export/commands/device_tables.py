"""What `build` and `verify` print about a device and about half precision."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.table import Table

from scoreguard.chain.devices import CUDA, Device
from scoreguard_export.archive.device_parity import ONNX, DeviceParity
from scoreguard_export.archive.half_precision import HalfMeasured
from scoreguard_export.exporters.engines import onnx_runs_on


def note_onnx(device: Device) -> None:
    """Say on standard error if ONNX graphs are left out on a GPU."""
    if device.kind == CUDA and not onnx_runs_on(device):
        click.echo(
            f"notice: {ONNX} graphs are compared on the CPU only: {device.name} needs onnxruntime-gpu instead of "
            "onnxruntime",
            err=True,
        )


def device_table(rows: Sequence[DeviceParity]) -> Table:
    """Compare a device with the CPU, one row for each graph."""
    table = Table(
        "module", "engine", "cases", "largest error", "tolerance", "gradient", title=f"{rows[0].device} and the CPU"
    )
    for row in rows:
        gradient = "–" if row.gradient_error is None else f"{row.gradient_error:.2g}"
        table.add_row(
            row.module, row.engine, str(row.cases), f"{row.largest_error:.2g}", f"{row.tolerance:.2g}", gradient
        )
    if names := sorted({name for row in rows for name in row.unrepeatable}):
        table.caption = f"without a kernel whose result repeats: {', '.join(names)}"
    return table


def half_table(rows: Sequence[HalfMeasured]) -> Table:
    """List what mixed half precision changes, as measured and as declared."""
    table = Table(
        "module",
        "largest error",
        "mean error",
        "SROCC with fp32",
        "images",
        title=f"Half precision on {rows[0].device}",
    )
    for row in rows:
        table.add_row(
            row.module,
            _beside(row.max_abs_error, row.declared_max_abs_error),
            _beside(row.mean_abs_error, row.declared_mean_abs_error),
            "–" if row.srocc is None else f"{row.srocc:.4f} ({row.declared_srocc:.4f})",
            str(row.images),
        )
    table.caption = f"in brackets: as declared, measured on {rows[0].declared_device}"
    return table


def _beside(found: float, declared: float) -> str:
    return f"{found:.2g} ({declared:.2g})"
