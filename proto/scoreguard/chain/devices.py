"""The device that graphs run on, by the name that a user gives it: `auto`, `cpu`, `cuda` or `cuda:N`.

torch is imported only where a device other than the CPU is requested, so a server on the CPU needs none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from scoreguard.support.shown import shown
from scoreguard.v1.errors import DeviceError

if TYPE_CHECKING:
    import torch

AUTO: Final = "auto"
CPU: Final = "cpu"
CUDA: Final = "cuda"
EngineName = Literal["auto", "onnx", "torchscript"]
"""What runs graphs on a device."""
ENGINES: Final[tuple[str, ...]] = get_args(EngineName)
DEVICE_HELP: Final = "Device of the graphs: auto, cpu, cuda or cuda:N."
"""Help text of a `--device` option."""
DEVICE_FACTOR: Final = 10.0
"""Kernels of another device sum in another order: results may differ by this many times what two engines on one CPU
may."""
_CHOICES: Final = "auto, cpu, cuda or cuda:N"
_WORKSPACE: Final = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
"""cuBLAS repeats its results only with a fixed workspace, which it reads from the environment once."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device that was found to work."""

    name: str
    """torch's name, with the index: "cpu", "cuda:0"."""
    title: str = ""
    """What it is, for people: "NVIDIA H100 80GB HBM3, 79 GiB"."""
    note: str = ""
    """Why `auto` chose it; empty if it was requested by name."""

    @property
    def kind(self) -> str:
        """Return the name without the index: "cpu", "cuda"."""
        return self.name.partition(":")[0]

    @property
    def index(self) -> int:
        """Return the index among the devices of its kind."""
        return int(self.name.partition(":")[2] or 0)

    @property
    def is_cpu(self) -> bool:
        """Whether it is the CPU."""
        return self.kind == CPU

    @property
    def torch(self) -> torch.device:
        """Return torch's object for it."""
        import torch

        return torch.device(self.name)

    @property
    def announcement(self) -> str:
        """Return one line for people: the device, what it is, and why `auto` chose it."""
        text = f"device {self.name}" + (f" ({self.title})" if self.title else "")
        return text + (f": {self.note}" if self.note else "")


THE_CPU: Final = Device(name=CPU)


def find_device(name: str) -> Device:
    """Return the device with a name, after a number was copied there and back.

    Args:
        name: "auto" (a GPU if one can be used, else the CPU), "cpu", "cuda" (the first GPU), "cuda:N", or any other
            device of torch.

    Raises:
        DeviceError: there is no such device, or it cannot be used; the message says what to install or choose.
    """
    if name == AUTO:
        return _automatic()
    if name == CPU:
        return THE_CPU
    return _found(name)


def gpu_count() -> int:
    """Return the number of GPUs that torch can use; 0 without torch."""
    try:
        import torch
    except ModuleNotFoundError:
        return 0
    return int(torch.cuda.device_count()) if torch.cuda.is_available() else 0


def _automatic() -> Device:
    try:
        found = _found(CUDA)
    except DeviceError as error:
        return Device(name=CPU, note=f"auto chose the CPU, since {error.problem}")
    return Device(name=found.name, title=found.title, note="auto chose the first GPU")


@cache
def _found(name: str) -> Device:
    try:
        import torch
    except ModuleNotFoundError as error:
        advice = f"pip install torch, or choose device {CPU!r}"
        raise DeviceError(name, "torch, which runs graphs there, is not installed", advice) from error
    device = _parsed(name)
    if device.type == CPU:
        raise DeviceError(name, "there is one CPU", f"choose {CPU!r}")
    if device.type == CUDA:
        _check_cuda(name, device.index or 0)
        os.environ.setdefault(*_WORKSPACE)
    try:
        torch.zeros(1).to(device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise DeviceError(name, f"it cannot be used: {first_line(error)}", f"choose {CPU!r}") from error
    found = f"{device.type}:{device.index or 0}"
    return Device(name=found, title=_title(device))


def _parsed(name: str) -> torch.device:
    import torch

    try:
        return torch.device(name)
    except RuntimeError as error:
        raise DeviceError(shown(name), "there is no device of that name", f"choose {_CHOICES}") from error


def _check_cuda(name: str, index: int) -> None:
    """Say precisely why a GPU cannot be used: torch's own messages do not say what to do."""
    import torch

    built = torch.version.cuda
    if built is None:
        problem = f"torch {torch.__version__} is built without CUDA"
        raise DeviceError(name, problem, f"install a build of torch for CUDA, or choose device {CPU!r}")
    if not torch.cuda.is_available():
        raise DeviceError(name, *_unavailable(built))
    count = torch.cuda.device_count()
    if index >= count:
        here = ", ".join(f"cuda:{each} {torch.cuda.get_device_name(each)}" for each in range(count))
        raise DeviceError(name, f"there is no GPU {index}", f"choose one of {here}")


def _unavailable(built: str) -> tuple[str, str]:
    """Return problem and advice where torch has CUDA and no GPU can be used."""
    import torch

    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return f"CUDA_VISIBLE_DEVICES={hidden!r} hides every GPU", "unset it, or choose device 'cpu'"
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
        cause = "no GPU was found"
    except (RuntimeError, AssertionError) as error:
        cause = first_line(error)
    if "driver" in cause and "too old" in cause:
        problem = f"torch {torch.__version__} needs a driver for CUDA {built}, and this one is older"
        return problem, "update the NVIDIA driver, or install torch for an earlier CUDA"
    if "driver" in cause:
        return "no NVIDIA driver was found", "install one, or choose device 'cpu'"
    return f"no GPU can be used: {cause}", "choose device 'cpu'"


def _title(device: torch.device) -> str:
    import torch

    if device.type != CUDA:
        return ""
    facts: Any = torch.cuda.get_device_properties(device)
    return f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its class."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def versions(device: Device) -> Mapping[str, str]:
    """Return what identifies a GPU and its software in records of a run; empty for the CPU."""
    if device.kind != CUDA:
        return {} if device.is_cpu else {"device": device.name}
    import torch

    cudnn: Any = torch.backends.cudnn
    return {"device": device.name, "gpu": device.title, "cuda": str(torch.version.cuda), "cudnn": str(cudnn.version())}
