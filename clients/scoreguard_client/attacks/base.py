"""What every attack shares: the call, the budget and the bookkeeping. A new attack writes `run` and `queries_needed`.

An attack searches, within an L-infinity ball around each clean picture, for the picture of highest quality in the eyes
of the metric. It works on whole batches: one question to the oracle covers all pictures.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import ClassVar, Final, final

import numpy as np
import numpy.typing as npt

from scoreguard_client.attacks.ball import Levels, ball_around
from scoreguard_client.attacks.errors import AttackInputError, AttackSpecError
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.base import Images, ScoreOracle, Scores

BENCHMARK_EPS: Final = 10 / 255
"""Radius of the sign attacks in the public benchmark (arXiv 2310.06958)."""


class Mode(StrEnum):
    """Which reading of a method runs."""

    PAPER = "paper"
    """As the method's own paper defines it."""
    BENCHMARK = "benchmark"
    """As the public benchmark's code computes it, where that differs."""


@dataclass(frozen=True, kw_only=True)
class AttackResult:
    """What an attack found."""

    attacked: Images
    """The attacked pictures, within eps of the clean ones exactly."""
    attacked_8bit: Levels
    """The same, rounded to 8 bits inside the budget (`Ball.quantise`)."""
    scores: Scores
    """The oracle's score of each attacked picture, (N,)."""
    queries: npt.NDArray[np.int64]
    """Questions asked about each picture, (N,); a score and a gradient count one each."""
    trace: Scores
    """Every score in the order of the questions, (questions, N)."""


@dataclass(frozen=True, kw_only=True)
class Attack(ABC):
    """An attack with all its parameters; `str(attack)` is its text form and its identity in records."""

    name: ClassVar[str]
    """Catalogue name."""
    title: ClassVar[str]
    """Name as it is written in prose."""
    paper: ClassVar[str]
    """Source of the method."""
    year: ClassVar[int]
    """Year of the source."""
    needs_gradient: ClassVar[bool]
    """Whether scores alone are not enough."""

    eps: float
    """Radius of the L-infinity ball, in units of [0, 1]."""

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            AttackSpecError: one of them is out of its range.
        """
        self.require(0 < self.eps <= 1, f"eps must be in (0, 1], not {self.eps:g}")

    def __str__(self) -> str:
        return ":".join([self.name, *(f"{f.name}={_text(getattr(self, f.name))}" for f in fields(self))])

    @property
    @abstractmethod
    def queries_needed(self) -> int:
        """Questions that `run` asks about each picture, at most."""

    @abstractmethod
    def run(self, session: Session) -> tuple[Images, Scores | None]:
        """Search; return the pictures found and, where the last answer was about exactly these, their quality (N,)."""

    @final
    def __call__(self, images: Images, oracle: ScoreOracle, *, seeds: Sequence[int] | None = None) -> AttackResult:
        """Attack a batch.

        Args:
            images: clean pictures, (N, 3, H, W) float32 in [0, 1].
            oracle: what to raise the score of; quality is raised, so a lower-is-better score falls.
            seeds: one for each picture, for attacks that draw; default 0, 1, ...

        Raises:
            AttackInputError: the pictures or the seeds do not fit.
            OracleMismatchError: the attack needs gradients and the oracle has none.
            OracleAnswerError: the oracle answered with something that is not finite.
        """
        clean, seeds = _checked(images), range(len(images)) if seeds is None else seeds
        if len(seeds) != len(clean):
            raise AttackInputError(f"{len(clean)} pictures need as many seeds, not {len(seeds)}")
        ball = ball_around(clean, self.eps)
        session = Session(name=self.name, ball=ball, oracle=oracle, budget=self._budget, seeds=seeds)
        found, quality = self.run(session)
        attacked = ball.clip(found)
        if quality is None or not np.array_equal(attacked, found):
            quality = session.quality(attacked)
        return AttackResult(
            attacked=attacked,
            attacked_8bit=ball.quantise(attacked),
            scores=oracle.facts.sign * quality,
            queries=np.full(len(clean), session.queries, dtype=np.int64),
            trace=np.stack(session.trace),
        )

    @property
    def _budget(self) -> int:
        # A gradient attack does not know the score of its last step: the base asks for it.
        return self.queries_needed + (1 if self.needs_gradient else 0)

    def require(self, holds: bool, problem: str) -> None:
        """Check a parameter.

        Raises:
            AttackSpecError: it does not hold.
        """
        if not holds:
            raise AttackSpecError(self.name, problem)


def _text(value: object) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _checked(images: Images) -> Images:
    if images.ndim != 4 or images.shape[1] != 3 or images.size == 0 or images.dtype != np.float32:
        raise AttackInputError(f"pictures must be float32 (N, 3, H, W), not {images.dtype} {images.shape}")
    if not (images.min() >= 0 and images.max() <= 1):
        raise AttackInputError("pictures must lie in [0, 1]")
    return images
