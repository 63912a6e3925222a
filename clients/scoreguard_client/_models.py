"""Values that the client returns: frozen, without protobuf."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from scoreguard.calibration import Bounds
from scoreguard.chain.numerics import Numerics
from scoreguard.chain.parameters import Parameter
from scoreguard.score_range import ScoreRange
from scoreguard.support.near import near_names
from scoreguard.v1.spec import Step
from scoreguard_client._exceptions import NotFoundError

__all__ = [
    "Catalogue",
    "Certificate",
    "DefenceDescription",
    "FileDigest",
    "FloatImage",
    "Gradient",
    "MetricDescription",
    "ParameterDescription",
    "Provenance",
    "Purified",
    "Score",
    "StageTiming",
    "StepProvenance",
]

FloatImage = npt.NDArray[np.float32]
"""float32 RGB array of shape (height, width, 3); an image's values are in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class StageTiming:
    """Time of one stage on the server."""

    stage: str
    """`queue`, `decode`, a defence step in its text form, `metric` or `gradient`."""
    milliseconds: float
    """Wall time; a stage that ran for a batch counts its share."""


@dataclass(frozen=True, kw_only=True)
class StepProvenance:
    """One defence step that ran."""

    step: Step
    """The step with every parameter filled in."""
    sha256: str
    """Digest of the graph that ran, hexadecimal."""


@dataclass(frozen=True, kw_only=True)
class Computation:
    """How graphs were computed: the last bits of a score depend on it."""

    device: str
    """Device, for example `cpu` or `cuda:0`."""
    deterministic: bool
    """Whether only kernels ran whose results repeat to the last bit, as far as the device has such."""
    tf32: bool
    """Whether the factors of convolutions were rounded to TF32."""
    precision: str
    """`fp32`, or `fp16` for mixed half precision."""
    batch: int
    """Images that ran as one batch."""

    def __str__(self) -> str:
        numerics = Numerics(deterministic=self.deterministic, tf32=self.tf32, precision=self.precision)
        return f"{self.device}, {numerics}"

    @property
    def is_plain(self) -> bool:
        """Whether it was the CPU in single precision, which always gives the same bits."""
        return self.device == "cpu" and self.precision == "fp32"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What produced a score: enough to repeat it."""

    metric_sha256: str
    """Digest of the metric's graph, hexadecimal."""
    steps: tuple[StepProvenance, ...]
    """The defences that ran, in order."""
    engine: str
    """Engine and version."""
    threads: int
    """Threads of one graph run."""
    seed: int
    """The seed that was used."""
    precision: Literal["", "uint8", "float32"]
    """Whether the image was scored as 8-bit or as float values; empty if the server did not say."""
    decoder: str
    """Library that decoded the image; empty for raw values."""
    height: int
    """Height after decoding and EXIF rotation, in pixels."""
    width: int
    """Width after decoding and EXIF rotation, in pixels."""
    computation: Computation | None = None
    """How the graphs were computed; None if the server is of an earlier version."""

    @property
    def engine_and_computation(self) -> str:
        """The engine, with how it computed unless that is the CPU in single precision."""
        plain = self.computation is None or self.computation.is_plain
        return self.engine if plain else f"{self.engine} ({self.computation})"


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What randomised median smoothing proves about an image x, for any chain.

    h is the median score under the noise. Each bound holds with the stated confidence for h(x'), at every image x'
    within the radius of x. `Score.score` estimates h(x); a server's score for x' estimates h(x').
    """

    lower: float
    """Lower bound."""
    upper: float
    """Upper bound."""
    radius: float
    """Radius of the ball: L2 norm over all values of the image in [0, 1]."""
    confidence: float
    """Probability, over the noise that was drawn, that one bound holds."""
    samples: int
    """Noisy copies that were scored."""
    sigma: float
    """Standard deviation of the noise, in [0, 1] units of the image."""
    lower_rank: int
    """Rank of the lower bound among the sorted scores, from 1."""
    upper_rank: int
    """Rank of the upper bound among the sorted scores, from 1."""

    @property
    def joint_confidence(self) -> float:
        """Lower bound on the probability that both bounds hold at once."""
        return 2 * self.confidence - 1


@dataclass(frozen=True, kw_only=True)
class Score:
    """The answer for one image."""

    score: float
    """f(g(x)): the metric's score of the purified image. With smoothing, the median over noisy copies of x."""
    undefended_score: float | None
    """f(x); None unless requested."""
    purified: FloatImage | None = field(repr=False, compare=False)
    """g(x): exactly what the metric scored; None unless requested."""
    timings: tuple[StageTiming, ...] = field(repr=False, compare=False)
    """Time of each stage."""
    provenance: Provenance = field(repr=False)
    """What produced the score."""
    request_id: str
    """The caller's name for the request."""
    attempts: int = field(default=1, compare=False)
    """How often the call was sent before the answer came."""
    certificate: Certificate | None = None
    """Proven bounds of the score; None unless smoothing was requested."""
    higher_is_better: bool | None = None
    """Whether a high score means high quality; None if the server is of an earlier version and did not say."""

    @property
    def gap(self) -> float | None:
        """By how much f(x) claims a higher quality than f(g(x)), in the metric's unit; None unless f(x) was requested.

        f(x) - f(g(x)), with its sign flipped if a low score means high quality. It is the effect of the defences: they
        move the scores of clean images as well, and an adaptive attack leaves no gap. It is not an alarm.
        """
        if self.undefended_score is None or self.higher_is_better is None:
            return None
        change = self.undefended_score - self.score
        return change if self.higher_is_better else 0.0 - change


@dataclass(frozen=True, kw_only=True)
class Purified:
    """A purified image."""

    image: FloatImage = field(repr=False, compare=False)
    """g(x)."""
    timings: tuple[StageTiming, ...] = field(repr=False, compare=False)
    """Time of each stage."""
    provenance: Provenance
    """What produced the image."""
    request_id: str
    """The caller's name for the request."""


@dataclass(frozen=True, kw_only=True)
class Gradient:
    """A score and its derivative."""

    score: float
    """f(g(x))."""
    gradient: FloatImage = field(repr=False, compare=False)
    """d f(g(x)) / d x, of the image's shape."""
    timings: tuple[StageTiming, ...] = field(repr=False, compare=False)
    """Time of each stage."""
    provenance: Provenance
    """What produced the numbers."""
    request_id: str
    """The caller's name for the request."""
    attempts: int = field(default=1, compare=False)
    """How often the call was sent before the answer came."""


ParameterDescription: TypeAlias = Parameter
"""One parameter of a defence."""


@dataclass(frozen=True, kw_only=True)
class DefenceDescription:
    """A defence that may run before a metric."""

    name: str
    """Name in requests."""
    title: str
    """Name in prose."""
    paper: str
    """Source of the method."""
    year: int
    """Year of the source."""
    parameters: tuple[ParameterDescription, ...]
    """What can be set."""
    random: bool
    """Whether the result depends on the seed."""
    differentiability: Literal["", "exact", "straight_through", "bpda_identity"]
    """How gradients pass through; empty if the server did not say."""
    size_preserving: bool
    """Whether the purified image always has the input's size."""
    minimum_size: int
    """Smallest height and width, in pixels."""


@dataclass(frozen=True, kw_only=True)
class FileDigest:
    """A file of an archive."""

    path: str
    """Path inside the archive."""
    sha256: str
    """Digest, hexadecimal."""
    size_bytes: int
    """Length."""


@dataclass(frozen=True, kw_only=True)
class MetricDescription:
    """A metric that is deployed."""

    name: str
    """Name in requests."""
    title: str
    """Name in prose."""
    paper: str
    """Source of the method."""
    year: int
    """Year of the source."""
    score_range: tuple[float, float]
    """Lowest and highest score."""
    higher_is_better: bool
    """False if a low score means high quality."""
    input_rule: str
    """How the metric reads an image."""
    minimum_size: int
    """Smallest height and width, in pixels."""
    weights_licence: str
    """Licence of the weights."""
    commercial_use: str = ""
    """Whether that licence allows commercial use: `yes`, `no` or `not stated`; empty = no weights, or not recorded."""
    calibration: Bounds | None = None
    """Lowest and highest score on the images that the build was given; None if it was given none."""
    defences: tuple[DefenceDescription, ...]
    """The defences that may run before it."""
    archive_sha256: str
    """Digest of the archive, hexadecimal."""
    files: tuple[FileDigest, ...] = field(repr=False)
    """Digests of the files in the archive."""

    @property
    def declared_range(self) -> ScoreRange:
        """The range with its direction, for scaling scores."""
        low, high = self.score_range
        return ScoreRange(low=low, high=high, higher_is_better=self.higher_is_better)

    def defence(self, name: str) -> DefenceDescription:
        """The defence of that name.

        Raises:
            NotFoundError: it is not deployed before this metric.
        """
        by_name = {defence.name: defence for defence in self.defences}
        if name not in by_name:
            raise _unknown("defence", name, by_name)
        return by_name[name]


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """What a server has deployed."""

    metrics: tuple[MetricDescription, ...]
    """The metrics, by name."""
    server_version: str
    """Version of the server software."""
    gradients: bool
    """Whether the server serves gradients."""
    max_message_bytes: int = 0
    """Largest request and answer that the server accepts; 0 if it does not say."""
    max_pixels: int = 0
    """Largest image that the server accepts, in pixels; 0 if it does not say."""

    def metric(self, name: str = "") -> MetricDescription:
        """The metric of that name; empty = the only one that is deployed.

        Raises:
            NotFoundError: it is not deployed, or no name was given and there are several metrics.
        """
        by_name = {metric.name: metric for metric in self.metrics}
        if not name:
            if len(by_name) == 1:
                return self.metrics[0]
            names = ", ".join(sorted(by_name)) or "none"
            raise NotFoundError(f"name the metric: deployed: {names}", field="metric")
        if name not in by_name:
            raise _unknown("metric", name, by_name)
        return by_name[name]


def _unknown(kind: str, name: str, known: Collection[str]) -> NotFoundError:
    near = near_names(name, known)
    hint = f"did you mean {', '.join(near)}?" if near else f"deployed: {', '.join(sorted(known))}"
    metadata = {"kind": kind, "name": name, "near": ",".join(near), "known": ",".join(sorted(known))}
    return NotFoundError(f"unknown {kind} {name!r}: {hint}", field=kind, metadata=metadata)
