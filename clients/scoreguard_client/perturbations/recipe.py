"""The recipe of a universal perturbation: everything that determines its values, stored in its file.

Nothing here imports the attacks; they import this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Final

from scoreguard.chain.devices import CPU
from scoreguard_client.perturbations.errors import RecipeError

LEAST_SIZE: Final = 8
_BENCHMARK: Final = "benchmark"


class Kind(StrEnum):
    """How a perturbation is trained."""

    CUMULATIVE = "cumulative"
    """One-step perturbations of the training images, accumulated."""
    OPTIMIZED = "optimized"
    """Adam on the perturbation itself."""
    GENERATIVE = "generative"
    """Adam on a network that draws the perturbation."""
    MOMENTUM = "momentum"
    """Sign steps with momentum on random windows and flips of the training images."""


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """Defaults of a kind."""

    epochs: int
    """Passes over the training images."""
    bound: float
    """Largest absolute value, in units of [0, 1]."""
    rate: float
    """Length of a step, or learning rate of Adam, in paper mode."""
    benchmark_rate: float
    """The same in benchmark mode."""


DEFAULTS: Final[Mapping[Kind, Defaults]] = {
    Kind.CUMULATIVE: Defaults(epochs=5, bound=0.1, rate=0.01, benchmark_rate=1.0),
    Kind.OPTIMIZED: Defaults(epochs=5, bound=0.1, rate=0.001, benchmark_rate=0.001),
    Kind.GENERATIVE: Defaults(epochs=1, bound=10 / 255, rate=0.001, benchmark_rate=0.001),
    Kind.MOMENTUM: Defaults(epochs=20, bound=10 / 255, rate=1 / 255, benchmark_rate=1 / 255),
}
"""Epochs, bounds and rates of the public benchmark, except the step of paper mode, for which no number is published,
and those of `momentum`, which are ours."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a perturbation is trained; equal recipes give equal perturbations."""

    kind: str
    """`cumulative`, `optimized`, `generative` or `momentum`."""
    mode: str
    """`paper` or `benchmark`."""
    direction: str
    """`up` or `down`: the direction in which it drives the quality."""
    metric: str
    """The metric that it is trained against."""
    source: str
    """Source of the gradients: `local:` or `live:`, the archive's name, and the digest of its manifest or file."""
    chain: str
    """The defences that it is trained through; `none` = the metric alone."""
    draws: int
    """Draws per query through a random chain, averaged."""
    images: int
    """Number of training images."""
    images_sha256: str
    """Digest of the digests of the training images, in order of their names."""
    epochs: int
    """Passes over the training images; in benchmark mode as many steps, but each batch is drawn afresh."""
    batch: int
    """Images per step."""
    size: int
    """Height and width in pixels, of the perturbation and of the training crops."""
    bound: float
    """Largest absolute value, in units of [0, 1]."""
    rate: float
    """Length of a step (cumulative), of the first step (momentum), or learning rate of Adam."""
    channels: int
    """Channels of the generator's first layer; 64 in the benchmark. The other kinds have no network."""
    seed: int
    """Seed for all randomness."""
    computation: str = CPU
    """Device and settings of local gradients, see `oracles.computing`: the last bits depend on it."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            RecipeError: a number is out of range.
        """
        _require(self.kind in list(Kind), f"kind is {', '.join(Kind)}, not {self.kind!r}")
        for name in ("draws", "images", "epochs", "batch", "channels"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        _require(self.size >= LEAST_SIZE, f"size must be at least {LEAST_SIZE}, not {self.size}")
        whole = self.kind != Kind.GENERATIVE or self.size & (self.size - 1) == 0
        _require(whole, f"the generator halves its image down to one pixel: size must be 64, 128, 256, not {self.size}")
        published = self.kind != Kind.MOMENTUM or not self.as_benchmark
        _require(published, "the public benchmark has no momentum training: leave mode=benchmark out")
        _require(0 < self.bound <= 1, f"bound must be in (0, 1], not {self.bound:g}")
        _require(0 < self.rate < float("inf"), f"rate must be above 0, not {self.rate:g}")
        _require(self.seed >= 0, f"seed must not be negative, not {self.seed}")

    @property
    def as_benchmark(self) -> bool:
        """Whether to follow the public benchmark's code where it differs."""
        return self.mode == _BENCHMARK

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches that the images fill; the last one may be smaller."""
        return -(-self.images // self.batch)

    @property
    def steps(self) -> int:
        """Number of steps of the whole training."""
        return self.epochs * self.steps_per_epoch

    def as_dict(self) -> dict[str, Any]:
        """Every field; the computation is left out where it is the CPU's, as before other devices were supported."""
        values = asdict(self)
        if self.computation == CPU:
            del values["computation"]
        return values

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Recipe:
        """Read what `as_dict` wrote.

        Raises:
            RecipeError: fields are missing or unknown, or have values of another type.
        """
        known: dict[str, Any] = {"computation": CPU, **values}
        if strange := set(known) ^ {field.name for field in fields(Recipe)}:
            raise RecipeError(f"its recipe has other fields than this version's: {', '.join(sorted(strange))}")
        try:
            return Recipe(**known)
        except TypeError as error:
            raise RecipeError(f"its recipe has a value of another type: {error}") from error

    def differences(self, other: Recipe) -> str:
        """Say how another recipe differs, ready to print."""
        pairs = ((field.name, getattr(self, field.name), getattr(other, field.name)) for field in fields(Recipe))
        return "; ".join(f"{name}: {mine} there, {theirs} here" for name, mine, theirs in pairs if mine != theirs)


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise RecipeError(problem)
