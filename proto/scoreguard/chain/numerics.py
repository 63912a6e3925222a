"""How a device computes: repeatably or not, in full single precision or not.

On a GPU two runs of one graph may differ in the last bits, and NVIDIA's TF32 rounds the factors of convolutions to 10
bits. Both are settings of the whole process in torch; here they hold for a block only, for all its threads.

Half precision is torch's mixed precision: convolutions and matrix products in float16, sums and everything sensitive
in float32. It changes scores, so it is used only where the archive declares how much.

torch is imported only where something is computed.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from scoreguard.chain.devices import CPU

if TYPE_CHECKING:
    import torch

FP32: Final = "fp32"
FP16: Final = "fp16"
PrecisionName = Literal["fp32", "fp16"]
PRECISIONS: Final[tuple[str, ...]] = get_args(PrecisionName)
_UNREPEATABLE: Final = re.compile(r"^(\S+) does not have a deterministic implementation")


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """How graphs are computed."""

    deterministic: bool = True
    """Whether only kernels are used whose results repeat to the last bit; operations without such a kernel still run,
    see `unrepeatable`."""
    tf32: bool = False
    """Whether NVIDIA GPUs may round the factors of convolutions and matrix products to TF32."""
    precision: str = FP32
    """`fp32`, or `fp16` for mixed precision."""

    def __str__(self) -> str:
        repeatable = "deterministic" if self.deterministic else "not deterministic"
        return f"{repeatable}, {self.precision}{', TF32' if self.tf32 else ''}"

    @contextmanager
    def applied(self, device: torch.device) -> Iterator[None]:
        """Compute so within the block; on the CPU only `precision` matters."""
        with ExitStack() as stack:
            if device.type != CPU:
                stack.enter_context(_PROCESS.holding(replace(self, precision=FP32)))
            if self.precision == FP16:
                import torch

                _complete_autocast()
                stack.enter_context(torch.autocast(device.type, dtype=torch.float16))
            yield


DEFAULT: Final = Numerics()
"""Repeatable, in full single precision."""


@cache
def _complete_autocast() -> torch.library.Library:
    """Let mixed precision on the CPU include `_convolution`, as it does on GPUs: traced graphs call no other."""
    import torch

    library = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    library.impl("_convolution", _narrow_convolution, "AutocastCPU")  # type: ignore[no-untyped-call]
    return library


def _narrow_convolution(*inputs: Any) -> torch.Tensor:
    """Convolve in the type of the autocast block: single precision is narrowed, and nothing else."""
    import torch

    narrow = torch.get_autocast_dtype(CPU)
    given = [
        value.to(narrow) if isinstance(value, torch.Tensor) and value.dtype == torch.float32 else value
        for value in inputs
    ]
    with torch.autocast(CPU, enabled=False):
        result: torch.Tensor = torch.ops.aten._convolution(*given)
    return result


@contextmanager
def unrepeatable() -> Iterator[list[str]]:
    """Collect the names of operations that ran without a deterministic kernel, within the block.

    The list is complete once the block ends. Not for use in several threads at the same time.
    """
    names: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield names
    for warning in caught:
        if (found := _UNREPEATABLE.match(str(warning.message))) is not None:
            names.append(found[1])
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    names[:] = sorted(set(names))


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """torch's own settings, as they are read and written."""

    deterministic: bool
    warn_only: bool = True
    matmul_tf32: bool
    cudnn_tf32: bool
    benchmark: bool = False
    """Whether cuDNN tries several kernels and keeps the fastest, which may be another one in the next process."""

    @classmethod
    def of(cls, numerics: Numerics) -> _Settings:
        """Return the settings that compute so."""
        return cls(deterministic=numerics.deterministic, matmul_tf32=numerics.tf32, cudnn_tf32=numerics.tf32)

    @classmethod
    def now(cls) -> _Settings:
        """Read the settings of the process."""
        import torch

        return cls(
            deterministic=torch.are_deterministic_algorithms_enabled(),
            warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
            matmul_tf32=bool(torch.backends.cuda.matmul.allow_tf32),
            cudnn_tf32=torch.backends.cudnn.allow_tf32,
            benchmark=torch.backends.cudnn.benchmark,
        )

    def write(self) -> None:
        """Set the settings of the process."""
        import torch

        torch.use_deterministic_algorithms(self.deterministic, warn_only=self.warn_only)
        torch.backends.cuda.matmul.allow_tf32 = self.matmul_tf32
        torch.backends.cudnn.allow_tf32 = self.cudnn_tf32
        torch.backends.cudnn.benchmark = self.benchmark


class _ProcessSettings:
    """torch's settings of the process: taken by the first user, shared by users who want the same, then restored."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: Numerics | None = None
        self._before = _Settings(deterministic=False, matmul_tf32=False, cudnn_tf32=True)
        self._users = 0

    @contextmanager
    def holding(self, wanted: Numerics) -> Iterator[None]:
        """Set what is wanted; wait while another thread computes with other settings."""
        self._take(wanted)
        try:
            yield
        finally:
            self._leave()

    def _take(self, wanted: Numerics) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._held in (None, wanted))
            if self._held is None:
                self._held, self._before = wanted, _Settings.now()
                _Settings.of(wanted).write()
            self._users += 1

    def _leave(self) -> None:
        with self._changed:
            self._users -= 1
            if self._users == 0:
                self._before.write()
                self._held = None
                self._changed.notify_all()


_PROCESS: Final = _ProcessSettings()
