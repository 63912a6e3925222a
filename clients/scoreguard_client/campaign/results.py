"""What executing gives: values, which a run stores and a shard sends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scoreguard.v1.codec import TOP, ImageArray
from scoreguard_client.campaign.errors import ServerGoneError
from scoreguard_client.campaign.records import CleanScore, Record
from scoreguard_client.target.units import Unit


@dataclass(frozen=True, kw_only=True)
class ShownImage:
    """An image that the report shows: clean without an attack, purified with a chain."""

    image: str
    """Name of the image."""
    levels: npt.NDArray[np.uint8]
    """(H, W, 3)."""
    metric: str = ""
    """The attacked metric; empty if the image is clean."""
    attack: str = ""
    """The attack in its text form; empty if the image is clean."""
    attacked_through: str = ""
    """The chain that the attack worked through."""
    chain: str = ""
    """The chain that purified it; empty if none did."""


@dataclass(frozen=True, kw_only=True)
class CleanResult:
    """The clean scores of an image under one metric."""

    scores: tuple[CleanScore, ...]
    """In the order of the keys that were asked for."""
    images: tuple[ShownImage, ...] = ()
    """What the report shows of it."""


@dataclass(frozen=True, kw_only=True)
class UnitResult:
    """What became of a unit."""

    records: tuple[Record, ...]
    """Its records; those that failed say why."""
    images: tuple[ShownImage, ...] = ()
    """What the report shows of it."""
    unrepeatable: tuple[str, ...] = ()
    """Operations of local gradients that ran without a deterministic kernel."""
    finished: tuple[Unit, ...] = ()
    """The unit or its parts whose records are all sound, so that their attacked images need not be kept."""
    gone: ServerGoneError | None = None
    """Why nothing more can be executed: the server went away; None if it did not."""


def levels_of(values: ImageArray) -> npt.NDArray[np.uint8]:
    """Round an image (H, W, 3) to 8 bits."""
    scaled = values if values.dtype == np.uint8 else np.rint(np.clip(values, 0, 1) * TOP)
    return scaled.astype(np.uint8, copy=False)
