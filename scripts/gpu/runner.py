"""Run the sections one after the other, each in its own process, within the budget.

A process that hangs is ended, and one that ends badly (a GPU that refuses all further work after a fault, for example)
takes no other section with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from gpu.part import CUT, DONE, FAILED, RUNNING, SKIPPED, Part, write_json
from gpu.sections import FIRST, Section

LEAST_SECONDS: Final = 4.0
"""A section is not started with less time than this: its process alone takes some."""
MARGIN_SECONDS: Final = 3.0
"""Time before its end at which a section is told to stop; what does not stop then is killed at the end."""
FORMAT: Final = 1


@dataclass(frozen=True, kw_only=True)
class Check:
    """One run of the check."""

    sections: tuple[Section, ...]
    budget: float
    """Seconds for everything."""
    began: float
    """When they began, on `time.monotonic`."""
    out: Path
    """The file of the results."""
    home: Path
    """A folder for the files of the sections."""
    options: Sequence[str]
    """Words of the command line that each section's process gets."""
    device: str
    """The device that was asked for."""
    quick: bool
    parts: dict[str, Part] = field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        """Run every section; returns the results, which are on disk after each."""
        ends = self.began + self.budget
        results = self._write()
        for number, section in enumerate(self.sections):
            self.parts[section.name] = self._part(section, _allowed(self.sections[number:], ends - time.monotonic()))
            results = self._write()
            _say(self.parts[section.name])
        return results

    def _part(self, section: Section, seconds: float) -> Part:
        first = self.parts.get(FIRST)
        if first is not None and first.status == FAILED:
            return Part(section=section.name, status=SKIPPED, reason="the device cannot be used")
        if seconds < LEAST_SECONDS:
            reason = f"the budget of {self.budget:g} s was used up"
            return Part(section=section.name, status=SKIPPED, reason=reason)
        path, started = self.home / f"{section.name}.json", time.monotonic()
        try:
            code, message = _run_process(section, seconds, path, self.options)
        except KeyboardInterrupt:
            self.parts[section.name] = replace(_read(path, section), status=CUT, reason="the check was stopped")
            self._write()
            raise
        part = _read(path, section)
        part.seconds, part.allowed_seconds = round(time.monotonic() - started, 2), round(seconds, 2)
        if part.status == RUNNING:
            part.status, part.reason = (CUT, "its process was ended") if code is None else (FAILED, message)
        return part

    def _write(self) -> dict[str, Any]:
        first = self.parts.get(FIRST)
        results = {
            "format": FORMAT,
            "device_asked": self.device,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "quick": self.quick,
            "budget_seconds": self.budget,
            "spent_seconds": round(time.monotonic() - self.began, 2),
            "device": first.rows[0] if first is not None and first.rows else {},
            "sections": {
                section.name: asdict(self.parts.get(section.name, Part(section=section.name, status="not reached")))
                for section in self.sections
            },
        }
        write_json(self.out, results)
        return results


def _allowed(sections: Sequence[Section], left: float) -> float:
    """Return the time of the first section: its share of what is left."""
    return left * sections[0].share / sum(section.share for section in sections)


def _run_process(section: Section, seconds: float, path: Path, options: Sequence[str]) -> tuple[int | None, str]:
    """Run a section; returns its exit code and its last line of errors. None = it was ended for taking too long."""
    script = Path(__file__).resolve().parents[1] / "gpu_check.py"
    words = [sys.executable, str(script), "--section", section.name, "--part", str(path), *options]
    log = path.with_suffix(".log")
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*words, "--seconds", f"{seconds:.3f}"],
            stderr=errors,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(path.parent)},  # what a killed process leaves is removed with the folder
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None, ""
        finally:
            with suppress(ProcessLookupError):  # servers that it started are in its group
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    last = next((line for line in reversed(log.read_text(errors="replace").splitlines()) if line.strip()), "")
    return code, last or f"its process ended with {code}"


def _read(path: Path, section: Section) -> Part:
    with suppress(OSError):
        return Part.read(path)
    return Part(section=section.name)


def _say(part: Part) -> None:
    failed = f", {len(part.failures)} failed" if part.failures else ""
    left = f", {len(part.left_out)} left out" if part.left_out else ""
    reason = f": {part.reason}" if part.reason else ""
    print(
        f"{part.section:>9}  {part.status}{reason}; {len(part.rows)} rows{failed}{left}, {part.seconds:.1f} s",
        flush=True,
    )


def ended_well(results: dict[str, Any]) -> bool:
    """Whether every section measured all of its items."""
    return all(part["status"] == DONE and not part["failures"] for part in results["sections"].values())
