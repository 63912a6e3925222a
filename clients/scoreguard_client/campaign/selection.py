"""Select the inputs of a campaign: `all` written out, and images that fit into a message of this server."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from scoreguard.v1.spec import UNDEFENDED
from scoreguard_client._models import Catalogue, MetricDescription
from scoreguard_client.attacks.base import Attack
from scoreguard_client.attacks.catalogue import CATALOGUE
from scoreguard_client.target.images import FoundImages, ImageRef, LeftOut

ALL: Final = "all"
"""Means every attack, or every deployed defence."""
_MIB: Final = 1 << 20
_FLOAT_BYTES: Final = 12
"""Bytes per pixel of an attacked image: three float32 values."""
_ENVELOPE_BYTES: Final = 64 * 1024
"""Room for the parts of a message other than the image."""


@dataclass(frozen=True, kw_only=True)
class MessageLimits:
    """Size limits between this client and this server."""

    message_bytes: int
    """Largest request and answer."""
    pixels: int
    """Largest image; 0 = the server does not say."""

    @staticmethod
    def of(catalogue: Catalogue, client_bytes: int) -> MessageLimits:
        """The smaller of both sides' limits."""
        server_bytes = catalogue.max_message_bytes or client_bytes
        return MessageLimits(message_bytes=min(server_bytes, client_bytes), pixels=catalogue.max_pixels)

    def problem_of(self, image: ImageRef) -> str:
        """Say why an image cannot be attacked within these limits, and what to do; empty if it can."""
        pixels = image.height * image.width
        if self.pixels and pixels > self.pixels:
            return f"{_megapixels(pixels)}, the server takes {_megapixels(self.pixels)} (--max-pixels)"
        size = _FLOAT_BYTES * pixels + _ENVELOPE_BYTES
        if size <= self.message_bytes:
            return ""
        needed = math.ceil(size / _MIB)
        return (
            f"{_megapixels(pixels)} travel as {needed} MiB of float values, a message may have "
            f"{self.message_bytes // _MIB} MiB: give --max-message-mib {needed} to both scoreguard-serve and this "
            "command, or make the image smaller"
        )


def within(found: FoundImages, limits: MessageLimits) -> FoundImages:
    """Keep the images that can be sent; the others are left out by name before anything is attacked."""
    problems = {image: limits.problem_of(image) for image in found.images}
    large = (LeftOut(name=image.name, error=problem) for image, problem in problems.items() if problem)
    return FoundImages(
        images=tuple(image for image, problem in problems.items() if not problem),
        left_out=(*found.left_out, *large),
    )


def chosen_metrics(text: str, catalogue: Catalogue) -> tuple[MetricDescription, ...]:
    """Return the metrics of a list, separated by commas, each once; an empty one means the only deployed metric.

    Raises:
        NotFoundError: one is not deployed, or none was named and there are several.
    """
    names = dict.fromkeys(name.strip() for name in text.split(","))
    return tuple(catalogue.metric(name) for name in names if name or len(names) == 1)


def written_out_attacks(text: str, is_there: Callable[[str], bool]) -> tuple[str, tuple[LeftOut, ...]]:
    """Replace `all` in a list of attacks by every attack that runs without a file.

    Args:
        text: attacks, separated by commas.
        is_there: whether a metric that an attack also needs can be queried.

    Returns:
        The list, and the attacks that `all` leaves out with the reason.
    """
    named = {part.strip().split(":")[0] for part in text.split(",")}
    if ALL not in named:
        return text, ()
    reasons = {name: _why_not(kind, is_there) for name, kind in CATALOGUE.items() if name not in named}
    runnable = [name for name, reason in reasons.items() if not reason]
    left_out = tuple(LeftOut(name=name, error=reason) for name, reason in reasons.items() if reason)
    return _replaced(text, runnable), left_out


def written_out_defences(text: str, metric: MetricDescription) -> str:
    """Replace `all` in a list of chains by `none` and every deployed defence, each with its defaults."""
    return _replaced(text, (UNDEFENDED, *(defence.name for defence in metric.defences)))


def _replaced(text: str, names: Iterable[str]) -> str:
    parts = (part.strip() for part in text.split(","))
    return ",".join(name for part in parts for name in (names if part == ALL else (part,)))


def _why_not(kind: type[Attack], is_there: Callable[[str], bool]) -> str:
    if kind.asks_for:
        return f"needs {kind.asks_for}"
    missing = [name for name in kind.sample().companions if not is_there(name)]
    return f"asks the metric {missing[0]}, which is not deployed" if missing else ""


def _megapixels(pixels: int) -> str:
    return f"{pixels / 1e6:.1f} megapixels"
