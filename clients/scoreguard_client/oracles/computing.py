"""How local gradients are computed: the device and its settings, as options, as found, and as provenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from scoreguard.chain.devices import CPU, THE_CPU, Device, find_device, versions
from scoreguard.chain.numerics import FP16, FP32, Numerics
from scoreguard.v1.archive import Archive
from scoreguard.v1.spec import Step
from scoreguard_client.oracles.errors import SurrogateError
from scoreguard_client.oracles.local import MOST_ROWS, LocalOracle


@dataclass(frozen=True, kw_only=True)
class Computing:
    """The user's options."""

    device: str = CPU
    """auto, cpu, cuda, cuda:N, or another name of torch."""
    deterministic: bool = True
    """Whether a device uses only kernels whose results repeat to the last bit."""
    tf32: bool = False
    """Whether NVIDIA GPUs may round the factors of convolutions to TF32."""
    precision: str = FP32
    """`fp32`, or `fp16` for mixed precision in graphs that declare it."""
    half_gradients: bool = False
    """Whether gradients may be computed in half precision."""
    batch: int | None = None
    """Rows that run at once; None = 1 on the CPU, at most 16 on another device."""

    def found(self) -> Computation:
        """Return the options with the device that they name, after it was tried.

        Raises:
            DeviceError: there is no such device, or it cannot be used.
            SurrogateError: half precision was chosen and not allowed for gradients.
        """
        if self.precision == FP16 and not self.half_gradients:
            raise SurrogateError(
                "half precision rounds small gradients to zero: add --half-gradients, or leave --precision fp32"
            )
        return Computation(computing=self, device=find_device(self.device))


DEFAULTS: Final = Computing()
"""The CPU, as every version computed."""


@dataclass(frozen=True, kw_only=True)
class Computation:
    """Options on a device that works."""

    computing: Computing = DEFAULTS
    """The options."""
    device: Device = THE_CPU
    """The device."""

    def __str__(self) -> str:
        """What decides the numbers, in a few words: `cpu`, or a GPU by its title with its settings.

        Two GPUs of one title count as the same.
        """
        computing, rows = self.computing, self.rows
        half = [FP16] if computing.precision == FP16 else []
        if self.device.is_cpu:
            return ", ".join([CPU, *half, *([f"batch {rows}"] if rows > 1 else [])])
        name = f"{self.device.kind} ({self.device.title})" if self.device.title else self.device.kind
        repeatable = "deterministic" if computing.deterministic else "not deterministic"
        return ", ".join(
            [name, repeatable, computing.precision, *(["TF32"] if computing.tf32 else []), f"batch {rows}"]
        )

    @property
    def rows(self) -> int:
        """Rows that run at once, if the device's memory suffices."""
        return self.computing.batch or (1 if self.device.is_cpu else MOST_ROWS)

    def record(self, unrepeatable: Sequence[str] = ()) -> dict[str, Any]:
        """Return the provenance of what it computes, ready for JSON.

        Args:
            unrepeatable: operations that ran without a deterministic kernel.
        """
        computing = self.computing
        return {
            "device": self.device.name,
            **versions(self.device),
            "deterministic": computing.deterministic or self.device.is_cpu,
            "tf32": computing.tf32 and not self.device.is_cpu,
            "precision": computing.precision,
            "batch": self.rows,
            "unrepeatable": list(unrepeatable),
        }

    def oracle(
        self, archive: Archive, chain: Sequence[Step] = (), *, draws: int = 1, checkpoint: bool = False
    ) -> LocalOracle:
        """Load an archive there; raises as `LocalOracle` does."""
        if self == ON_CPU:
            return LocalOracle(archive, chain, draws=draws, checkpoint=checkpoint)
        computing = self.computing
        return LocalOracle(
            archive,
            chain,
            draws=draws,
            checkpoint=checkpoint,
            device=self.device.name,
            numerics=Numerics(
                deterministic=computing.deterministic, tf32=computing.tf32, precision=computing.precision
            ),
            batch=computing.batch,
            half_gradients=computing.half_gradients,
        )


ON_CPU: Final = Computation()
"""The default: no other device, and no torch before an oracle is loaded."""
