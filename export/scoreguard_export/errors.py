"""Errors at build time.

ExportError
├── ParameterError        a structural value for which a defence has no graph
├── MissingExtraError     a library of an optional part of the installation
├── WeightsError          weights that are missing, of the wrong digest or of the wrong shape
│   └── DownloadError     weights that cannot be fetched
│       └── DigestError   what was fetched is not the file that was meant
├── GraphError            a module that cannot be written as a graph
├── ParityError           an exported graph that differs from the eager module
│   ├── ModuleError       a module that fails on an image, or gives no number for it
│   └── DeviceParityError  a graph that gives other numbers on a device than on the CPU
├── PrecisionError        a graph that half precision changes too much
├── ArchiveError          an archive that cannot be read or is not what it says
├── RuleBrokenError       a metric or a defence that breaks a rule, see `scoreguard_export.testing`
├── CalibrationError      images that no range can be measured on
└── TrainingError         training that cannot start or go on
"""

from __future__ import annotations

from collections.abc import Iterable

from scoreguard.support.picklable import PicklableError
from scoreguard.support.rules import Breach


def one_line(text: str, limit: int = 300) -> str:
    """Fold a library's message to one line of at most `limit` characters."""
    folded = " ".join(text.split())
    return folded if len(folded) <= limit else folded[: limit - 1] + "…"


class ExportError(PicklableError):
    """Base of every error of this package; the message is one line that says what to do."""


class ParameterError(ExportError):
    """A defence has no graph for a structural value."""

    def __init__(self, defence: str, name: str, value: float, choices: Iterable[float]) -> None:
        self.defence, self.name, self.value, self.choices = defence, name, value, tuple(choices)
        allowed = ", ".join(f"{choice:g}" for choice in self.choices) or "no structural parameter of that name"
        super().__init__(f"defence {defence!r} has no graph for {name}={value:g}: choose from {allowed}")


class MissingExtraError(ExportError):
    """A metric or a defence needs a library of a package extra that is not installed."""

    def __init__(self, user: str, extra: str, reason: str) -> None:
        self.user, self.extra, self.reason = user, extra, one_line(reason)
        super().__init__(f"{user} needs pip install 'scoreguard[{extra}]' ({self.reason})")


class WeightsError(ExportError):
    """Weights are missing or not the ones that the method needs."""


class DownloadError(WeightsError):
    """Weights cannot be fetched."""

    def __init__(self, url: str, reason: str) -> None:
        self.url, self.reason = url, one_line(reason)
        super().__init__(f"cannot fetch {url}: {self.reason}")


class DigestError(DownloadError):
    """The fetched file is not the expected one; it is removed."""

    def __init__(self, url: str, expected: str, found: str) -> None:
        self.expected, self.found = expected, found
        super().__init__(
            url, f"sha256 is {found}, not {expected}: removed; if this is the file you mean, give --sha256 {found}"
        )


class GraphError(ExportError):
    """A module cannot be written as a graph."""

    def __init__(self, module: str, engine: str, reason: str) -> None:
        self.module, self.engine, self.reason = module, engine, one_line(reason)
        super().__init__(f"cannot export {module} to {engine}: {self.reason}")


class ParityError(ExportError):
    """The output of an exported graph differs from the eager module's by more than the tolerance."""

    def __init__(self, module: str, engine: str, case: str, reason: str) -> None:
        self.module, self.engine, self.case, self.reason = module, engine, case, one_line(reason)
        super().__init__(f"{engine} graph of {module} differs from the module at {case}: {self.reason}")


class ModuleError(ParityError):
    """A module itself fails on an image, or gives infinity or NaN for it; its graphs are not the cause."""

    def __init__(self, module: str, case: str, reason: str) -> None:
        super().__init__(module, "eager", case, reason)
        self.args = (f"{module} at {case}: {self.reason}",)


class DeviceParityError(ParityError):
    """A graph gives other numbers on a device than on the CPU."""

    def __init__(self, module: str, engine: str, device: str, case: str, reason: str) -> None:
        super().__init__(module, engine, case, reason)
        self.device = device
        self.args = (f"{engine} graph of {module} on {device} differs from the CPU at {case}: {self.reason}",)


class PrecisionError(ExportError):
    """Mixed half precision changes a graph's output too much."""

    def __init__(self, module: str, device: str, reason: str) -> None:
        self.module, self.device, self.reason = module, device, reason
        super().__init__(f"{module} in half precision on {device}: {reason}")


class ArchiveError(ExportError):
    """An archive cannot be read, or its content does not match its manifest."""


class RuleBrokenError(ExportError):
    """A metric or a defence breaks a rule that holds for all of them."""

    def __init__(self, subject: str, breach: Breach) -> None:
        self.subject, self.rule, self.found, self.advice = subject, breach.rule, breach.found, breach.advice
        super().__init__(breach.about(subject))


class CalibrationError(ExportError):
    """No range of scores can be measured on a folder of images, or a build cannot use a calibration."""


class TrainingError(ExportError):
    """Training cannot start or continue."""
