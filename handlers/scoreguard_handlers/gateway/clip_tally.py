"""What is kept of a clip while it is scored: the scores of each frame, and its features where the metric has some.

The frames themselves are not kept, so a long clip takes little more memory than a short one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from scoreguard.v1.scoring_pb2 import Provenance, ScoreClipResponse, ScoreDefendedResponse, StageTiming
from scoreguard.v1.worker_pb2 import WorkResult
from scoreguard_handlers.errors import InvalidRequestError


@dataclass(kw_only=True)
class Track:
    """The frames behind the defences, or without them."""

    scores: list[float] = field(default_factory=list)
    features: bytearray = field(default_factory=bytearray)

    @property
    def mean(self) -> float:
        """Return the mean score."""
        return math.fsum(self.scores) / len(self.scores)


@dataclass(kw_only=True)
class ClipTally:
    """The frames so far."""

    frames: list[int] = field(default_factory=list)
    """Places in the clip."""
    purified: Track = field(default_factory=Track)
    undefended: Track = field(default_factory=Track)
    milliseconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Time by stage."""
    _first: ScoreDefendedResponse = field(default_factory=ScoreDefendedResponse)

    def add(self, index: int, result: WorkResult) -> None:
        """Take a frame's answer into account.

        Raises:
            InvalidRequestError: the frame is of another size than those before it.
        """
        response = result.score
        if not self.frames:
            self._first = response
        self._check_size(response.provenance, index)
        self.frames.append(index)
        self.purified.scores.append(response.score)
        self.purified.features += result.features.purified
        if response.HasField("undefended_score"):
            self.undefended.scores.append(response.undefended_score)
            self.undefended.features += result.features.undefended
        self.count(response.timings)

    def count(self, timings: Iterable[StageTiming]) -> None:
        """Add the time of stages."""
        for timing in timings:
            self.milliseconds[timing.stage] += timing.milliseconds

    def response(self, seed: int) -> ScoreClipResponse:
        """Return the answer without the clip's own scores."""
        provenance = Provenance()
        provenance.CopyFrom(self._first.provenance)
        provenance.seed = seed
        return ScoreClipResponse(
            frame_scores=self.purified.scores,
            undefended_frame_scores=self.undefended.scores,
            frames=self.frames,
            timings=[StageTiming(stage=stage, milliseconds=spent) for stage, spent in self.milliseconds.items()],
            provenance=provenance,
            request_id=self._first.request_id,
            higher_is_better=self._first.higher_is_better,
        )

    def _check_size(self, provenance: Provenance, index: int) -> None:
        first = self._first.provenance
        if (provenance.height, provenance.width) != (first.height, first.width):
            raise InvalidRequestError(
                f"frame {index} has {provenance.width} x {provenance.height} pixels, those before it {first.width} x "
                f"{first.height}: a clip has one size; send it in parts",
                field="frame",
                metadata={"frame": str(index)},
            )
