"""Errors in what one part of scoreguard passes to another.

ContractError
├── SpecError        a chain's text form that cannot be read
├── ParameterError   a defence parameter that does not exist, is out of range or does not fit the image
├── SmoothingError   a smoothing that cannot give a certificate
├── TooSmallError    an image that is smaller than a stage accepts
├── PayloadError     a tensor whose bytes do not match its shape and type
├── ImageError       a file that is not an image, is damaged, or cannot be read correctly
│   └── ImageLimitError  an image with too many pixels, or of a kind that costs too much to read
├── VideoError       a file that is not a video, is damaged, or holds no frame
├── IntegrityError   an archive that does not match its manifest
├── EngineError      an engine cannot load or run a graph
│   ├── DeviceError      a device that is not there or cannot be used
│   ├── DeviceMemoryError  a device whose memory has run out
│   └── NoGradientError  a step that no gradient can pass
└── CannotServeError  a service in this process that cannot be opened
"""

from __future__ import annotations

from typing import Final

from scoreguard.support.picklable import PicklableError
from scoreguard.support.shown import shown

_PROBLEM_LIMIT: Final = 300
"""Most characters to keep of a library's message."""


class ContractError(PicklableError, ValueError):
    """Base of every error of this package; the message is one line."""


class SpecError(ContractError):
    """A chain's text form that cannot be read."""

    def __init__(self, text: str, problem: str) -> None:
        self.text, self.problem = text, problem
        super().__init__(
            f"cannot read defence '{shown(text)}': {problem}; write name:key=value, steps joined by '+', "
            "for example blur:kernel=3+jpeg:quality=50"
        )


class ParameterError(ContractError):
    """A defence parameter that does not exist, is out of range or does not fit the image."""

    def __init__(self, defence: str, parameter: str, message: str) -> None:
        self.defence, self.parameter = defence, parameter
        super().__init__(message)


class TooSmallError(ContractError):
    """An image that is smaller than a stage accepts."""

    def __init__(self, who: str, minimum: int, height: int, width: int) -> None:
        self.minimum, self.height, self.width = minimum, height, width
        super().__init__(f"{who} needs at least {minimum} x {minimum} pixels, the image is {width} x {height} there")


class SmoothingError(ContractError):
    """A smoothing that cannot give a certificate."""

    def __init__(self, option: str, message: str) -> None:
        self.option = option
        super().__init__(message)


class PayloadError(ContractError):
    """A tensor whose bytes do not match its shape and type."""


class ImageError(ContractError):
    """A file that is not an image, is damaged, or cannot be read correctly; the message says what to do."""


class ImageLimitError(ImageError):
    """An image with too many pixels, or of a kind that costs too much to read."""

    def __init__(self, message: str, *, what: str, value: float, limit: float) -> None:
        self.what, self.value, self.limit = what, value, limit
        super().__init__(message)


class VideoError(ContractError):
    """A file that is not a video, is damaged, or holds no frame; the message says what to do."""


class IntegrityError(ContractError):
    """An archive that cannot be read or does not match its manifest."""


class EngineError(ContractError):
    """An engine cannot load or run a graph."""

    def __init__(self, subject: str, problem: str, advice: str = "") -> None:
        self.subject, self.problem, self.advice = subject, shown(problem, _PROBLEM_LIMIT), advice
        super().__init__(f"{subject} {self.problem}{'; ' if advice else ''}{advice}")


class DeviceError(EngineError):
    """A device that is not there or cannot be used; the message says what to install or choose."""

    def __init__(self, device: str, problem: str, advice: str) -> None:
        self.device = device
        super().__init__(f"device {device!r}:", problem, advice)


class DeviceMemoryError(EngineError):
    """A device whose memory has run out."""

    def __init__(self, device: str, subject: str, shape: tuple[int, ...]) -> None:
        self.device, self.shape = device, shape
        problem = f"needs more memory than {device} has left for images of shape {shape}"
        super().__init__(subject, problem, "use smaller images, or fewer in a batch")


class NoGradientError(EngineError):
    """A step without derivative that changes the size of an image, so it cannot pass the gradient as the identity."""

    def __init__(self, step: str, defence: str) -> None:
        self.step, self.defence = step, defence
        problem = f"defence {defence!r} changes the image's size and has no derivative"
        super().__init__(f"no gradient through {step}:", problem, "leave it out, or attack by scores")


class CannotServeError(ContractError):
    """A service in this process that cannot be opened; the message is one line that says what to do."""
