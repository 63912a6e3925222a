"""Replace what depends on the machine by what it means here: the device `auto`, and numbers that are 0.

A process that runs no graph asks another one about its GPUs: finding out takes some hundred megabytes of a GPU.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from scoreguard.chain.devices import AUTO, CPU, CUDA, find_device, gpu_count
from scoreguard.v1.errors import DeviceError
from scoreguard_handlers.config import ServeConfig, WorkerConfig, usable_cores

C = TypeVar("C", bound=WorkerConfig)
DEVICE_BATCH: Final = 16
"""Images that run as one batch on a device other than the CPU, unless another number is set."""
_PROBE_SECONDS: Final = 120.0


@dataclass(frozen=True, kw_only=True)
class FoundDevices:
    """The devices that a configuration means."""

    names: tuple[str, ...]
    """One for each worker that is loaded: "cuda:0", "cuda:1"."""
    announcement: str = ""
    """What was found, for people; empty for the CPU that was asked for."""

    @property
    def is_cpu(self) -> bool:
        """Whether it is the CPU."""
        return self.names == (CPU,)


def devices_of(name: str) -> FoundDevices:
    """Return the devices that a name means: `cuda` and `auto` are every GPU.

    Raises:
        DeviceError: there is no such device, or it cannot be used.
    """
    found = find_device(name)
    if found.is_cpu:
        return FoundDevices(names=(CPU,), announcement=found.announcement if name == AUTO else "")
    names = [f"{CUDA}:{index}" for index in range(gpu_count())] if name in (AUTO, CUDA) else [found.name]
    return FoundDevices(names=tuple(names), announcement=found.announcement)


def devices_elsewhere(name: str) -> FoundDevices:
    """Return `devices_of(name)`, found by another process.

    Raises:
        DeviceError: there is no such device, or it cannot be used.
    """
    if name == CPU:
        return FoundDevices(names=(CPU,))
    command = [sys.executable, "-m", "scoreguard_handlers.device_config", name]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False)
        answer = json.loads(run.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise DeviceError(name, "it could not be examined", f"choose {CPU!r}") from error
    if "problem" in answer:
        raise DeviceError(answer["device"], answer["problem"], answer["advice"])
    return FoundDevices(names=tuple(answer["names"]), announcement=answer["announcement"])


def settled(config: C, found: FoundDevices) -> C:
    """Return a configuration in which nothing depends on the machine any more."""
    values: dict[str, Any] = {"device": _settled_name(config.device, found)}
    if not config.graph_batch:
        values["graph_batch"] = 1 if found.is_cpu else DEVICE_BATCH
    if isinstance(config, ServeConfig) and not config.workers:
        values["workers"] = usable_cores() if found.is_cpu else len(found.names)
    return replace(config, **values)


def _settled_name(name: str, found: FoundDevices) -> str:
    if found.is_cpu:
        return CPU
    return CUDA if name in (AUTO, CUDA) else found.names[0]


def _answer(name: str) -> dict[str, object]:
    try:
        found = devices_of(name)
    except DeviceError as error:
        return {"device": error.device, "problem": error.problem, "advice": error.advice}
    return {"names": found.names, "announcement": found.announcement}


if __name__ == "__main__":
    print(json.dumps(_answer(sys.argv[1])))
