"""The options of a campaign, as a user gives them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from scoreguard.v1.spec import UNDEFENDED
from scoreguard_client.campaign.services import PATIENCE_SECONDS
from scoreguard_client.oracles.computing import DEFAULTS, Computing
from scoreguard_client.target.gradients import Gradients


class RunnerKind(StrEnum):
    """What executes the units of a campaign."""

    LOCAL = "local"
    """This process."""
    RAY = "ray"
    """Tasks of Ray."""


@dataclass(frozen=True, kw_only=True)
class CampaignOptions:
    """The user's options."""

    metric: str = ""
    """Names of deployed metrics, separated by commas; empty = the only one."""
    attacks: str = "fgsm,ifgsm"
    """Attacks, separated by commas: `fgsm,ifgsm:eps=8/255`; `all` = every attack that needs no file."""
    degraded: bool = False
    """Whether degraded copies of every image are scored too, see `attacks.degraded`."""
    defences: str = UNDEFENDED
    """Chains, separated by commas: `none,jpeg:quality=50,blur+jpeg`; `all` = `none` and every deployed defence."""
    sweep: tuple[str, ...] = ()
    """Parameters to vary, each as `jpeg.quality=10..100:10` or `jpeg.quality=10,50,90`: a chain for each value."""
    images: Path
    """The clean images: a folder, a CSV list with people's scores, or a video, see `target.image_sets`."""
    mos_column: str = ""
    """Column of people's scores in a list; empty = the usual one."""
    mos_lower_is_better: bool | None = None
    """Whether a low score by people means high quality; None = as the column's name says."""
    out: Path
    """Run directory."""
    frames: int | None = None
    """Frames to take of each video, evenly spaced; None = videos are passed over."""
    adaptive: bool = False
    """Whether every attack also works through each chain."""
    gradients: Gradients | None = None
    """Source of gradients; None = local if there is a surrogate, else live."""
    surrogate: Path | None = None
    """Archive or model store; None = `model_store` if present."""
    limit: int | None = None
    """Use at most this many images, in name order; None = all."""
    seed: int = 0
    """Seed for all randomness."""
    draws: int = 1
    """Scores taken of each image behind a random defence."""
    crafting_draws: int = 1
    """Draws per query of an attack through a random defence; 0 = as many as each image's gradient needs."""
    batch: int = 8
    """Maximum number of images attacked at once."""
    checkpoint: bool = False
    """Whether to compute local gradients in the memory of one step of the chain."""
    computing: Computing = DEFAULTS
    """Device and settings of local gradients."""
    patience: float = PATIENCE_SECONDS
    """Seconds to wait for an unreachable server."""
    runner: RunnerKind = RunnerKind.LOCAL
    """What executes the units."""
    address: str = ""
    """Address of a running Ray, or `auto`; empty = start one on this machine."""
    workers: int | None = None
    """Units that are executed at once: by as many processes of this machine, None = this one; or by Ray, None = as many
    as it has processors."""
    extend: bool = False
    """Whether to add to the run in `out`: what `metric`, `attacks`, `defences`, `sweep` and `images` have besides,
    `adaptive` attacks, and more `draws`; empty texts add nothing."""
    keep_all: bool = False
    """Whether to keep all attacked images, not only those shown in the report."""
    keep_attacked: bool = False
    """Whether to keep all attacked images in 8 bits, as a data set needs them."""
    distance: str = ""
    """Perceptual distance to measure, see `perceptual.find_distance`; empty = none."""
