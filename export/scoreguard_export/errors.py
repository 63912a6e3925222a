"""What can go wrong at build time.

ExportError
├── UnknownNameError      a metric or defence that no catalogue has
├── WeightsError          weights that are missing, of the wrong digest or of the wrong shape
├── ParityError           an exported graph that differs from the eager module
├── ArchiveError          an archive that cannot be read or is not what it says
└── TrainingError         training that cannot start or go on
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ExportError(Exception):
    """Base of every error of this package; the message is one line that says what to do."""


class UnknownNameError(ExportError):
    """A name that the catalogue does not have."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        near = difflib.get_close_matches(name, self.known, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(self.known)}"
        super().__init__(f"unknown {kind} {name!r}: {hint}")


class WeightsError(ExportError):
    """Weights that are missing or not the ones that the method needs."""


class ParityError(ExportError):
    """An exported graph whose output differs from the eager module's by more than the tolerance."""


class ArchiveError(ExportError):
    """An archive that cannot be read, or whose content is not what its manifest says."""


class TrainingError(ExportError):
    """Training that cannot start or go on."""
