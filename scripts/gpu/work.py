"""What a section works with: the device, the model store, the time left, and a place for its rows."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from gpu.part import CUT, DONE, FAILED, RUNNING, Part
from scoreguard.chain.devices import CUDA, Device
from scoreguard.chain.torchscript import cause_of

_KILO: Final = 1 if sys.platform == "darwin" else 1024


@dataclass(kw_only=True)
class Work:
    """One section under way."""

    device: Device
    store: Path
    """The model store."""
    quick: bool
    """Whether to measure few items, briefly: numbers that show only that everything works."""
    ends: float
    """When to stop, on `time.monotonic`."""
    part: Part
    """What was measured so far."""
    path: Path
    """The file of the results."""

    @property
    def left(self) -> float:
        """Return the seconds left."""
        return self.ends - time.monotonic()

    def add(self, row: dict[str, Any]) -> None:
        """Record one row."""
        self.part.rows.append(row)
        self.save()

    def note(self, text: str) -> None:
        """Record what a reader must know, once."""
        if text not in self.part.notes:
            self.part.notes.append(text)
            self.save()

    def each(self, names: Iterable[str]) -> Iterator[str]:
        """Yield names while time is left. Those not yet done are in the results as left out, even after a kill."""
        open_names = list(names)
        self.part.left_out += open_names
        self.save()
        for name in open_names:
            if self.left <= 0:
                return
            yield name
            self.part.left_out.remove(name)
            self.save()

    @contextmanager
    def item(self, name: str) -> Iterator[None]:
        """Measure one item in the block; its failure is recorded, not raised, so that the next one is measured."""
        try:
            if self.device.kind == CUDA:
                torch.cuda.reset_peak_memory_stats(self.device.torch)
            yield
        except Exception as error:  # graphs, engines and servers fail in many ways, and each is a result
            self.fail_item(name, f"{type(error).__name__}: {cause_of(error)}")
            if self.device.kind == CUDA:
                with suppress(RuntimeError):  # after some failures the GPU is of no more use to this process
                    torch.cuda.empty_cache()

    def fail_item(self, name: str, error: str) -> None:
        """Record that an item could not be measured."""
        self.part.failures.append({"item": name, "error": self._shown(error)})
        self.save()

    def item_memory(self) -> int | None:
        """Return the peak of torch's memory on the GPU since the item began, in bytes; None without a GPU."""
        if self.device.kind != CUDA:
            return None
        return int(torch.cuda.max_memory_allocated(self.device.torch))

    def save(self) -> None:
        """Write the results so far."""
        memory = self.part.memory
        if self.device.kind == CUDA:
            with suppress(RuntimeError):
                free, total = torch.cuda.mem_get_info(self.device.torch)
                memory["device"] = max(memory.get("device", 0), self.item_memory() or 0)
                memory["in_use"] = max(memory.get("in_use", 0), total - free)
        memory["process"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KILO
        self.part.write(self.path)

    def finish(self) -> None:
        """Record how the section ended."""
        if self.part.status == RUNNING:
            self.part.status = CUT if self.part.left_out else DONE
        self.save()

    def fail(self, error: Exception) -> None:
        """Record that the section itself failed."""
        self.part.status, self.part.reason = FAILED, self._shown(f"{type(error).__name__}: {cause_of(error)}")
        self.save()

    def _shown(self, text: str) -> str:
        """Leave out where the store lies on this machine: results are published."""
        return text.replace(str(self.store), self.store.name)
