"""Results of a campaign: one clean score per image and chain, one record per attacked image and chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from scoreguard.v1.spec import UNDEFENDED
from scoreguard_client.attacks.external import External
from scoreguard_client.target.images import unit_of


class CleanKey(NamedTuple):
    """Key of a clean score."""

    metric: str
    """The metric."""
    image: str
    """Name of the image."""
    chain: str
    """The chain; `none` = undefended."""
    draw: int
    """Number of the draw, from 0."""

    @property
    def seed_parts(self) -> tuple[object, ...]:
        """What the seed of the score derives from: all but the metric, so that metrics share their draws."""
        return ("clean", self.image, self.chain, self.draw)


class RecordKey(NamedTuple):
    """Key of a record."""

    metric: str
    """The metric."""
    image: str
    """Name of the image."""
    attack: str
    """The attack with all parameters, in its text form."""
    attacked_through: str
    """The chain that the attack worked through; `none` = the metric alone."""
    chain: str
    """The chain that the image was scored behind; `none` = undefended."""
    draw: int
    """Number of the draw, from 0."""

    @property
    def undefended(self) -> RecordKey:
        """Key of the same attacked image on the undefended metric."""
        return self._replace(chain=UNDEFENDED, draw=0)

    @property
    def clean(self) -> CleanKey:
        """Key of the clean score to compare with."""
        return CleanKey(self.metric, self.image, self.chain, self.draw)

    @property
    def seed_parts(self) -> tuple[object, ...]:
        """What the seed of the score derives from: all but the metric, so that metrics share their draws.

        Nor does it derive from who made an image elsewhere, so that nobody draws again under another name.
        """
        if self.attack.partition(":")[0] == External.name:
            return ("attacked", self.image, External.name, UNDEFENDED, self.chain, self.draw)
        return ("attacked", self.image, self.attack, self.attacked_through, self.chain, self.draw)


@dataclass(frozen=True, kw_only=True)
class CleanScore:
    """The score of a clean image behind a chain."""

    metric: str
    """The metric."""
    image: str
    """Name of the image."""
    chain: str
    """The chain; `none` = undefended."""
    draw: int
    """Number of the draw, from 0; deterministic chains have one."""
    seed: int
    """Seed of the call."""
    score: float | None
    """f(g(x)); None if the call failed."""
    purified_psnr: float | None
    """PSNR of g(x) against x, in dB."""
    purified_ssim: float | None
    """SSIM of g(x) against x."""
    seconds: float
    """Wall time of the call."""
    error: str
    """Why it failed; empty if it did not."""
    retryable: bool = False
    """Whether rerunning may help: the server was busy or unreachable, not unable."""

    @property
    def key(self) -> CleanKey:
        """Key of the score."""
        return CleanKey(self.metric, self.image, self.chain, self.draw)


@dataclass(frozen=True, kw_only=True)
class Record:
    """An attacked image behind a chain."""

    image: str
    """Name of the image."""
    attack: str
    """The attack with all parameters, in its text form."""
    attacked_through: str
    """The chain that the attack worked through; `none` = the metric alone."""
    chain: str
    """The chain that the image was scored behind; `none` = undefended."""
    draw: int
    """Number of the draw, from 0; deterministic chains have one."""
    image_sha256: str
    """Digest of the image's file."""
    metric: str
    """The metric."""
    adaptive: bool
    """Whether the attack knew the chain."""
    seed: int
    """Seed of the defended score."""
    clean_score: float | None = None
    """f(x)."""
    clean_defended: float | None = None
    """f(g(x))."""
    attacked_score: float | None = None
    """f(x'), float values."""
    attacked_defended: float | None = None
    """f(g(x')), float values."""
    attacked_score_8bit: float | None = None
    """f(x') after rounding to 8 bits inside the budget."""
    attacked_defended_8bit: float | None = None
    """f(g(x')) after rounding to 8 bits inside the budget."""
    crafting_score: float | None = None
    """Score of the attacked image from the attack's own oracle."""
    psnr: float | None = None
    """PSNR of x' against x, in dB."""
    ssim: float | None = None
    """SSIM of x' against x."""
    l_inf: float | None = None
    """Largest difference of x' and x, in units of [0, 1]."""
    l_inf_8bit: float | None = None
    """The same after rounding to 8 bits."""
    changed_pixels: int | None = None
    """Pixels of x' that differ from x in any channel."""
    purified_psnr: float | None = None
    """PSNR of g(x') against x, in dB; a smaller purified image is enlarged first."""
    purified_ssim: float | None = None
    """SSIM of g(x') against x."""
    queries: int | None = None
    """Calls that the attack spent on the image; every draw and every resent call counts as one."""
    crafting_seconds: float | None = None
    """Wall time of the attack: the batch's time divided by its number of images."""
    scoring_seconds: float | None = None
    """Wall time of the defended call for float values."""
    metric_sha256: str = ""
    """Digest of the metric's graph that ran."""
    steps_sha256: str = ""
    """Digests of the defences' graphs that ran, joined by commas."""
    engine: str = ""
    """Engine that scored."""
    flags: str = ""
    """Signs that the attack's result should not be taken at face value, joined by commas; empty = none."""
    error: str = ""
    """Why the record failed; empty if it did not."""
    retryable: bool = False
    """Whether rerunning may help: the server was busy or unreachable, not unable."""
    perceptual: float | None = None
    """The plan's perceptual distance of x' from x; None if it has none, or the image is too small for it."""

    @property
    def key(self) -> RecordKey:
        """Key of the record."""
        return RecordKey(self.metric, self.image, self.attack, self.attacked_through, self.chain, self.draw)

    @property
    def unit(self) -> str:
        """What intervals count: the image, or the video that it is a frame of."""
        return unit_of(self.image)


def is_adaptive(attacked_through: str) -> bool:
    """Whether an attack through this chain knew a defence."""
    return attacked_through != UNDEFENDED
