"""Convert the messages of a fake service to and from values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from scoreguard.images import read_image
from scoreguard.support.near import did_you_mean, near_names
from scoreguard.v1 import codec, manifest_pb2
from scoreguard.v1 import scoring_pb2 as pb
from scoreguard_client._exceptions import ConfigurationError, NotFoundError

Floats: TypeAlias = npt.NDArray[np.float32]
ENGINE: Final = "fake"


def deployed(
    metrics: Iterable[str], defences: Iterable[str], score_range: tuple[float, float], *, higher_is_better: bool
) -> list[pb.DeployedMetric]:
    """Build the catalogue: every metric with every defence."""
    facts = [
        manifest_pb2.DefenceFacts(
            name=name,
            title=name.title(),
            differentiability=manifest_pb2.DIFFERENTIABILITY_BPDA_IDENTITY,
            size_preserving=True,
            minimum_size=1,
        )
        for name in defences
    ]
    low, high = score_range
    return [
        pb.DeployedMetric(
            facts=manifest_pb2.MetricFacts(
                name=name,
                title=name.title(),
                range_low=low,
                range_high=high,
                higher_is_better=higher_is_better,
                input_rule="native size",
                minimum_size=1,
            ),
            defences=facts,
            archive_sha256=name.encode().hex().ljust(64, "0")[:64],
        )
        for name in metrics
    ]


def values_of(image: pb.Image) -> Floats:
    """Decode an image to (height, width, 3) in [0, 1], as a server does.

    Raises:
        ImageError: it is not an image.
    """
    found = read_image(image.encoded) if image.WhichOneof("payload") == "encoded" else codec.from_tensor(image.tensor)
    return found.astype(np.float32) / np.float32(255 if found.dtype == np.uint8 else 1)


def named(kind: str, name: str, known: Mapping[str, Callable[[Floats], Any]], field: str) -> Callable[[Floats], Any]:
    """Find a function by name.

    Raises:
        NotFoundError: there is none of that name; near names are listed, as on a server.
    """
    if name not in known:
        metadata = {"near": ",".join(near_names(name, list(known))), "known": ",".join(known)}
        message = f"unknown {kind} '{name}': {did_you_mean(name, list(known))}"
        raise NotFoundError(message, code="NOT_FOUND", reason="UNKNOWN_NAME", field=field, metadata=metadata)
    return known[name]


def finite(score: float, metric: str) -> float:
    """Check that a score is a finite number, and return it.

    Raises:
        ConfigurationError: it is not a finite number.
    """
    if not math.isfinite(score):
        raise ConfigurationError(f"the function of the metric {metric!r} gave {score}: a score is a finite number")
    return float(score)


def provenance_of(request: Any, image: Floats) -> pb.Provenance:
    """Make the provenance of an answer, as far as a fake service has one."""
    is_float = request.image.tensor.data_type == pb.DATA_TYPE_FLOAT32
    return pb.Provenance(
        steps=[pb.StepProvenance(step=step) for step in request.defences],
        engine=ENGINE,
        threads=1,
        seed=request.seed,
        precision=pb.PRECISION_FLOAT32 if is_float else pb.PRECISION_UINT8,
        decoder="Pillow" if request.image.WhichOneof("payload") == "encoded" else "",
        height=image.shape[0],
        width=image.shape[1],
    )
