"""The table of pyiqa's no-reference metrics: which can be exported, as `scripts/pyiqa_survey.py` found by trying."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Final

from scoreguard.catalogue import UnknownNameError
from scoreguard.score_range import ScoreRange

PREFIX: Final = "pyiqa:"
"""Begins the name of a metric on a command line: `pyiqa:musiq`."""
PATH: Final = Path(__file__).with_name("pyiqa.json")
REPEAT: Final = "scripts/pyiqa_survey.py"
"""The script that makes the table."""


class Status(StrEnum):
    """What can be done with a metric of pyiqa."""

    EXPORTS = "exports"
    """It becomes a TorchScript and an ONNX graph of free size, which agree with it."""
    TORCHSCRIPT_ONLY = "torchscript only"
    """It has no ONNX graph that agrees with it."""
    SCORES_ONLY = "scores only"
    """It scores images in pyiqa, and has no graph of free size, or no gradient."""
    CANNOT = "cannot"
    """It does not score one image, on the CPU, from files of tensors."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the survey found for one metric."""

    name: str
    """pyiqa's name: `clipiqa+`."""
    network: str
    """Class of its network in pyiqa."""
    score_range: str
    """As pyiqa states it: `~0, ~100`; a rough estimate, it says."""
    lower_better: bool
    status: Status
    reason: str = ""
    """Why it is not exported, with the stage at which it failed; or what to know of it. Empty = nothing."""
    minimum_size: int = 0
    """Smallest height and width of an image from which the graphs agree, in pixels; 0 = unknown."""
    parameters: int = 0
    """Number of trained numbers; 0 = none, or unknown."""
    batch_error: float = 0.0
    """Largest change of a score by the other images of a batch, as a share of the scores' standard deviation."""
    parity_error: float = 0.0
    """Largest difference between a graph and the network, as a share of the scores' standard deviation."""
    files: tuple[str, ...] = ()
    """Addresses of the files that it is made from, its own last."""

    @property
    def served_name(self) -> str:
        """Return its name in archives and requests, where `+` and capitals may not stand."""
        return "pyiqa-" + self.name.lower().replace("+", "-plus").replace("_", "-")

    @property
    def bounds(self) -> ScoreRange | None:
        """Return the range as numbers; None if pyiqa states an open one."""
        numbers = re.fullmatch(r"~?(-?[\d.]+), ~?(-?[\d.]+)", self.score_range)
        if numbers is None:
            return None
        return ScoreRange(low=float(numbers[1]), high=float(numbers[2]), higher_is_better=not self.lower_better)


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The table, and what it was made with."""

    versions: dict[str, str]
    """Versions of the libraries that decide, by name."""
    entries: dict[str, Entry]
    """By pyiqa's name, in pyiqa's order."""


def entry_of(content: dict[str, Any]) -> Entry:
    """Read one entry."""
    return Entry(**{**content, "status": Status(content["status"]), "files": tuple(content.get("files", ()))})


@cache
def survey() -> Survey:
    """Return the table."""
    content = json.loads(PATH.read_text())
    entries = [entry_of(row) for row in content["metrics"]]
    return Survey(versions=content["versions"], entries={entry.name: entry for entry in entries})


def find(name: str) -> Entry | None:
    """Return the entry of `pyiqa:musiq` or `pyiqa-musiq`; None if the name is not of this kind.

    Raises:
        UnknownNameError: it is, and pyiqa has no such no-reference metric.
    """
    entries = survey().entries
    if name.startswith(PREFIX):
        wanted = name.removeprefix(PREFIX)
        if wanted not in entries:
            raise UnknownNameError("metric of pyiqa", wanted, list(entries))
        return entries[wanted]
    return next((entry for entry in entries.values() if entry.served_name == name), None)


def served(name: str) -> str:
    """Return the name under which a metric is served, and its weights are given: `pyiqa:musiq` is `pyiqa-musiq`.

    Raises:
        UnknownNameError: pyiqa has no such no-reference metric.
    """
    entry = find(name)
    return name if entry is None else entry.served_name
