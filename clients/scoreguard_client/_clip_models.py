"""The answer for a clip."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from scoreguard_client._models import Provenance, StageTiming

__all__ = ["ClipDraw", "ClipScore"]

ClipDraw: TypeAlias = Literal["clip", "frame"]
"""How often random defences draw: once for the whole clip, or for each frame."""


@dataclass(frozen=True, kw_only=True)
class ClipScore:
    """The answer for one clip."""

    score: float
    """Score of the purified clip."""
    undefended_score: float | None
    """Score of the clip without the defences; None unless requested."""
    frame_scores: tuple[float, ...] = field(repr=False)
    """Score of each purified frame as a clip of one."""
    undefended_frame_scores: tuple[float, ...] = field(repr=False)
    """Score of each frame without the defences; empty unless requested."""
    frames: tuple[int, ...] = field(repr=False)
    """Places in the clip of the frames that were scored, from 0."""
    pooling: Literal["", "temporal", "mean"]
    """How the score was made from the frames: by the metric itself, or as their mean; empty if not stated."""
    draw: ClipDraw
    """How often random defences drew."""
    timings: tuple[StageTiming, ...] = field(repr=False, compare=False)
    """Sum of the time of each stage over all frames."""
    provenance: Provenance = field(repr=False)
    """What produced the scores; seed, height and width are the clip's."""
    pool_sha256: str
    """Digest of the graph that pooled the frames, hexadecimal; empty for a mean."""
    request_id: str
    """The caller's name for the request."""
    higher_is_better: bool
    """Whether a high score means high quality."""

    @property
    def gap(self) -> float | None:
        """By how much the undefended score claims a higher quality; see `Score.gap`."""
        if self.undefended_score is None:
            return None
        change = self.undefended_score - self.score
        return change if self.higher_is_better else 0.0 - change
