"""Bounds that scores are scaled by: those of the studies, and those measured on a folder of images."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from scoreguard.v1 import manifest_pb2

_STUDY: Final = Path(__file__).with_name("study_bounds.json")
_BENCHMARK: Final = "-as-benchmark"
_KIND: Final = "scoreguard calibration"
_CALIBRATED: Final = "calibrated sha256:"
_DIGEST_LENGTH: Final = 64


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Scores that become the two ends of a scale."""

    low: float
    high: float
    source: str
    """Where they are from: `declared`, `nips2017`, or `calibrated sha256:…` with the digest of the image list."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The scores of a metric on a folder of images, in five numbers."""

    metric: str
    """Catalogue name, with the variant."""
    images: int
    images_sha256: str
    """SHA-256 of the list of images, hexadecimal: a line for each, its digest, two spaces and its name, by name."""
    weights: dict[str, str]
    """SHA-256 of the weights files by name."""
    low: float
    lower_quartile: float
    median: float
    upper_quartile: float
    high: float

    @property
    def bounds(self) -> Bounds:
        """Return the lowest and the highest score."""
        return Bounds(low=self.low, high=self.high, source=f"{_CALIBRATED}{self.images_sha256}")

    def to_message(self) -> manifest_pb2.Calibration:
        """Return what a manifest holds; the metric and its weights are there already."""
        return manifest_pb2.Calibration(
            images=self.images,
            images_sha256=self.images_sha256,
            low=self.low,
            lower_quartile=self.lower_quartile,
            median=self.median,
            upper_quartile=self.upper_quartile,
            high=self.high,
        )

    def to_json(self) -> str:
        """Return the text of a file."""
        return json.dumps({"kind": _KIND, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def read(cls, path: Path) -> Calibration:
        """Read a file.

        Raises:
            ValueError: it cannot be read, is no calibration, or its lowest and highest score are no bounds.
        """
        try:
            content: Any = json.loads(path.read_text(encoding="utf-8"))
            if content.pop("kind") != _KIND:
                raise ValueError("another kind of file")
            found = cls(**content)
            if not (found.low < found.high and len(found.images_sha256) == _DIGEST_LENGTH):
                raise ValueError("its scores are no bounds")
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise ValueError(
                f"{path} is no calibration ({error}): write one by scoreguard-export calibrate METRIC --images DIR"
            ) from error
        return found


def bounds_of(facts: manifest_pb2.MetricFacts) -> Bounds | None:
    """Return the bounds of the calibration in a manifest; None if there is none."""
    if not facts.HasField("calibration"):
        return None
    found = facts.calibration
    return Bounds(low=found.low, high=found.high, source=f"{_CALIBRATED}{found.images_sha256}")


def study_bounds(metric: str) -> Bounds | None:
    """Return the bounds of a metric on the images of NIPS 2017 as the benchmark publishes them, or None.

    The benchmark's own way of computing a metric, `spaq-as-benchmark`, has the bounds of `spaq`.
    """
    content, name = _study(), metric.removesuffix(_BENCHMARK)
    if name not in content["bounds"]:
        return None
    low, high = content["bounds"][name]
    return Bounds(low=low, high=high, source=content["name"])


def studied() -> tuple[str, ...]:
    """Return the names of the metrics that have bounds of the study."""
    return tuple(_study()["bounds"])


@cache
def _study() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(_STUDY.read_text(encoding="utf-8"))
    return content
