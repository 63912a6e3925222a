"""Base of every attack: the call, the budget and the bookkeeping. A new attack implements `run` and `queries_needed`.

An attack searches, within its budget around each clean image, for the image that the metric rates highest (or lowest).
It works on whole batches: one query to the oracle covers all images.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar, Final, Self, final

import numpy as np

from scoreguard.v1.spec import Step, format_chain
from scoreguard_client.attacks.clean_candidate import better_of, judging_rounds
from scoreguard_client.attacks.errors import (
    AttackInputError,
    AttackSpecError,
    ChainMismatchError,
    CompanionMissingError,
)
from scoreguard_client.attacks.regions.base import Levels, MovableRegion, Region
from scoreguard_client.attacks.session import Counts, Limits, Session
from scoreguard_client.attacks.text_values import escaped
from scoreguard_client.oracles.arrays import Put, equal, on_host, unchanged
from scoreguard_client.oracles.base import DeviceOracle, Images, OracleFacts, ScoreOracle, Scores

BENCHMARK_EPS: Final = 10 / 255
"""Radius of the sign attacks in the public benchmark (arXiv 2310.06958)."""

OUT_OF_RANGE: Final = "out-of-range"
"""Flag of an image whose score left the metric's declared range."""
_RANGE_SLACK: Final = 1e-3

Companions = Mapping[str, ScoreOracle]
"""Oracles of the other metrics that an attack queries in addition to the attacked one, by name."""
NO_COMPANIONS: Final[Companions] = MappingProxyType({})


class Mode(StrEnum):
    """Which variant of a method runs."""

    PAPER = "paper"
    """As the method's own paper defines it."""
    BENCHMARK = "benchmark"
    """As the public benchmark's code computes it, if that differs."""


class Direction(StrEnum):
    """Direction in which the attack drives the quality."""

    UP = "up"
    """Make the metric overrate the quality."""
    DOWN = "down"
    """Make the metric underrate the quality."""


class Needs(StrEnum):
    """What an attack requires."""

    GRADIENT = "gradient"
    """The gradient of the score: a surrogate archive, or a server that serves gradients."""
    SCORES = "scores"
    """Scores alone: the public endpoint."""
    TRAINING = "training set"
    """A perturbation trained on other images beforehand; no scores of this image."""
    NOTHING = "nothing"
    """The image alone."""

    @property
    def asks(self) -> bool:
        """Whether the search asks the metric; one that does not can follow neither a chain nor a direction."""
        return self in {Needs.GRADIENT, Needs.SCORES}


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What a search returns."""

    images: Images
    """The attacked images, (N, 3, H, W)."""
    objective: Scores | None = None
    """Their objective (N,), if the last answers were about exactly these images; None = query once more."""
    flags: tuple[str, ...] = ()
    """Signs that an image's result should not be taken at face value, one text for each image; empty = none."""


@dataclass(frozen=True, kw_only=True)
class AttackResult:
    """Result of an attack."""

    attacked: Images
    """The attacked images, exactly inside the budget."""
    attacked_8bit: Levels
    """The same, rounded to 8 bits inside the budget (`Region.quantise`)."""
    scores: Scores
    """The oracle's score of each attacked image, (N,)."""
    queries: Counts
    """Calls for each image, (N,): one for each score or gradient and each draw, including calls sent again."""
    trace: Scores
    """Every score in query order, (queries, N)."""
    flags: tuple[str, ...]
    """Sanity flags of each image, joined by commas; empty = none."""


@dataclass(frozen=True, kw_only=True)
class Attack(ABC):
    """An attack with all its parameters; `str(attack)` is its text form and its identity in records."""

    name: ClassVar[str]
    """Catalogue name."""
    title: ClassVar[str]
    """Name in prose."""
    paper: ClassVar[str]
    """Source of the method."""
    year: ClassVar[int]
    """Year of the source."""
    needs: ClassVar[Needs]
    """What it requires."""
    budget: ClassVar[str]
    """What bounds the change, in a few words that name the parameter."""
    wants: ClassVar[str] = "any chain"
    """The chains that it works through, in a few words."""
    asks_for: ClassVar[str] = ""
    """What must be given before it can run, with its parameter; empty = it runs with its defaults."""
    is_degradation: ClassVar[bool] = False
    """Whether it makes an image worse, for the order of scores: then it stands in no table of attacks."""
    on_device: ClassVar[bool] = False
    """Whether `run` takes the images as arrays on the oracle's device, see `oracles.arrays`; else they are NumPy's.
    Each class says so for itself, since a subclass may add code that needs NumPy."""
    same_to_readers: ClassVar[frozenset[str]] = frozenset({"direction"})
    """Parameters that distinguish two attacks of this kind only for programs; a report does not name them."""
    flag_meanings: ClassVar[Mapping[str, str]] = MappingProxyType(
        {OUT_OF_RANGE: "the attacked score left the metric's declared range, so shares of the range exceed it"}
    )
    """Meaning of each flag of its results, for readers."""

    direction: Direction = Direction.UP
    """Whether quality is driven up or down."""

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            AttackSpecError: a parameter is out of range.
        """
        self.require(isinstance(self.direction, Direction), f"direction is up or down, not {self.direction!r}")

    def __str__(self) -> str:
        return ":".join([self.name, *(f"{f.name}={_text(getattr(self, f.name))}" for f in fields(self))])

    @classmethod
    def sample(cls) -> Self:
        """Create an instance that shows the defaults; it may be unable to run, see `asks_for`."""
        return cls()

    @property
    @abstractmethod
    def queries_needed(self) -> int:
        """Upper bound on the queries of `run` for each image."""

    @classmethod
    def fits(cls, chain: Sequence[Step]) -> bool:
        """Whether it works through a chain whose parameters are all filled in; empty = the metric alone."""
        del chain
        return True

    @classmethod
    @final
    def takes_device_arrays(cls) -> bool:
        """Whether this class itself states `on_device`."""
        return bool(vars(cls).get("on_device", False))

    @property
    def companions(self) -> tuple[str, ...]:
        """Names of the metrics that it queries in addition to the attacked one."""
        return ()

    @property
    def call_limit(self) -> int | None:
        """Calls that may be spent on each image; None = as many as the queries cost."""
        return None

    @property
    def keeps_clean(self) -> bool:
        """Whether a clean image that scores better than the search result is returned in its place.

        True for every search, which therefore never ends below its clean image. False for one-step methods and trained
        perturbations, which by definition may end lower, and for gradient methods in `mode=benchmark`, which return
        what the benchmark's code returns.
        """
        return True

    @abstractmethod
    def region(self, clean: Images, companions: Companions) -> Region:
        """The budget around clean images (N, 3, H, W)."""

    @abstractmethod
    def run(self, session: Session) -> SearchResult:
        """Search inside `session.region`."""

    def pinned(self) -> Self:
        """Return the same attack with its files' digests in its parameters, so that its text form is its identity.

        Raises:
            AttackError: a file cannot be used.
        """
        return self

    @final
    def __call__(
        self,
        images: Images,
        oracle: ScoreOracle,
        *,
        seeds: Sequence[int] | None = None,
        companions: Companions = NO_COMPANIONS,
    ) -> AttackResult:
        """Attack a batch.

        Args:
            images: clean images, (N, 3, H, W) float32 in [0, 1].
            oracle: whose score to move; upwards, a lower-is-better score falls.
            seeds: one for each image, for attacks that draw; default 0, 1, ...
            companions: oracles of the other metrics that the attack names in `companions`.

        Raises:
            AttackInputError: the images or the seeds do not fit.
            OracleMismatchError: the attack needs gradients and the oracle has none.
            ChainMismatchError: it does not work through the oracle's chain.
            OracleAnswerError: the oracle's answer is not finite.
            CompanionMissingError: another metric that the attack needs is missing.
        """
        clean, seeds = _checked(images), range(len(images)) if seeds is None else seeds
        if len(seeds) != len(clean):
            raise AttackInputError(f"{len(clean)} images need as many seeds, not {len(seeds)}")
        if missing := [name for name in self.companions if name not in companions]:
            raise CompanionMissingError(self.name, missing[0])
        if not self.fits(oracle.facts.chain):
            raise ChainMismatchError(self.name, self.wants, format_chain(oracle.facts.chain))
        sign = oracle.facts.sign * (1.0 if self.direction is Direction.UP else -1.0)
        region = self.region(clean, companions)
        there, put, settings = self._placed(region, oracle)
        session = Session(
            name=self.name,
            region=there,
            oracle=oracle,
            limits=self._limits(oracle.facts),
            seeds=seeds,
            sign=sign,
            put=put,
        )
        with settings:
            found = self._judged(session, self._searched(session))
        return _result(session, region, found, sign)

    def _placed(self, region: Region, oracle: ScoreOracle) -> tuple[Region, Put, AbstractContextManager[None]]:
        """Return the region where `run` computes, how arrays get there, and the settings to compute with."""
        if self.takes_device_arrays() and isinstance(oracle, DeviceOracle) and isinstance(region, MovableRegion):
            return region.on(oracle.to_device), oracle.to_device, oracle.settings()
        return region, unchanged, nullcontext()

    def _limits(self, facts: OracleFacts) -> Limits:
        """Return the queries of the search plus those of the base, about the result and the clean images."""
        rounds = judging_rounds(facts, self.call_limit) if self.keeps_clean else 0
        if self.call_limit is not None:
            return Limits(questions=self.queries_needed, calls=self.call_limit, kept=2 * rounds)
        return Limits(questions=self.queries_needed + 2 + 2 * rounds)

    def _searched(self, session: Session) -> SearchResult:
        if self.call_limit is None or not self.keeps_clean:
            return self.run(session)
        # A score-based search pays for the clean images' query first: later no budget may be left.
        objective = session.objective(session.clean)
        return self.run(session) if session.left else SearchResult(images=session.clean, objective=objective)

    def _judged(self, session: Session, found: SearchResult) -> SearchResult:
        attacked, objective = session.region.clip(found.images), found.objective
        if not equal(attacked, found.images):
            objective = None
        if not self.keeps_clean:
            objective = session.objective(attacked) if objective is None else objective
        else:
            rounds = judging_rounds(session.oracle.facts, self.call_limit)
            attacked, objective = better_of(session, attacked, objective, rounds=rounds)
        return replace(found, images=attacked, objective=objective)

    def require(self, holds: bool, problem: str) -> None:
        """Check a parameter.

        Raises:
            AttackSpecError: it does not hold.
        """
        if not holds:
            raise AttackSpecError(self.name, problem)


def _result(session: Session, region: Region, found: SearchResult, sign: float) -> AttackResult:
    trace, attacked = session.finish(), on_host(found.images)
    scores = sign * on_host(found.objective)
    return AttackResult(
        attacked=attacked,
        attacked_8bit=region.quantise(attacked),
        scores=scores,
        queries=session.calls,
        trace=trace,
        flags=_flags(found, scores, session.oracle.facts),
    )


def _flags(found: SearchResult, scores: Scores, facts: OracleFacts) -> tuple[str, ...]:
    slack = _RANGE_SLACK * facts.span
    outside = (scores < facts.score_range.low - slack) | (scores > facts.score_range.high + slack)
    own = found.flags or ("",) * len(scores)
    return tuple(
        ",".join(filter(None, [flags, OUT_OF_RANGE * bool(out)])) for flags, out in zip(own, outside, strict=True)
    )


def _text(value: object) -> str:
    """Format a value as text that is read back exactly; floats as short as that allows."""
    if not isinstance(value, float):
        return escaped(str(value))
    short = f"{value:.12g}"
    return short if float(short) == value else repr(value)


def _checked(images: Images) -> Images:
    if images.ndim != 4 or images.shape[1] != 3 or images.size == 0 or images.dtype != np.float32:
        raise AttackInputError(f"images must be float32 (N, 3, H, W), not {images.dtype} {images.shape}")
    if not (images.min() >= 0 and images.max() <= 1):
        raise AttackInputError("images must lie in [0, 1]")
    return images
