"""The robustness table: one row for each attack and chain, adaptive attacks apart, every number with its interval.

Gains and distances compare what the service answers: f(g(x)) for the clean picture and f(g(x')) for the attacked one,
so that a defence that lowers every score alike gains nothing by it. `Gain` and SROCC compare with the undefended f(x),
as their paper does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scoreguard_client.campaign.records import Record
from scoreguard_client.report.columns import COLUMNS
from scoreguard_client.scores.agreement import srocc
from scoreguard_client.scores.bootstrap import RESAMPLES, Estimate, Rows, clustered_bootstrap
from scoreguard_client.scores.distances import energy_score, wasserstein_score
from scoreguard_client.scores.gains import absolute_gain, relative_gain
from scoreguard_client.scores.purification import purification_gain, quality_score
from scoreguard_client.scores.r_score import RMode, r_score
from scoreguard_client.scores.scaling import Scaling, ScoreRange, Values, scale_pair


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Which readings of the scores a table takes."""

    scaling: Scaling = Scaling.DECLARED_RANGE
    """Which scores become 0 and 1."""
    r_mode: RMode = RMode.PAPER
    """Whose R-score."""
    resamples: int = RESAMPLES
    """Resamples of the intervals."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One attack behind one chain."""

    attack: str
    """The attack in its text form."""
    chain: str
    """The chain that the pictures were scored behind."""
    adaptive: bool
    """Whether the attack knew the chain."""
    images: int
    """Pictures with at least one record that did not fail."""
    records: int
    """Records that did not fail."""
    failed: int
    """Records that failed; they are in no number."""
    queries: float
    """Mean questions about a picture."""
    scores: dict[str, Estimate]
    """The columns by key; empty where every record failed."""


def robustness_table(records: Sequence[Record], declared: ScoreRange, options: TableOptions) -> list[Row]:
    """Aggregate the records of a run; rows come in the order of the records' first appearance by attack and chain."""
    groups: dict[tuple[str, str, bool], list[Record]] = {}
    for record in records:
        groups.setdefault((record.attack, record.chain, record.adaptive), []).append(record)
    return [_row(key, group, declared, options) for key, group in groups.items()]


def _row(key: tuple[str, str, bool], records: Sequence[Record], declared: ScoreRange, options: TableOptions) -> Row:
    good = [record for record in records if not record.error]
    return Row(
        attack=key[0],
        chain=key[1],
        adaptive=key[2],
        images=len({record.image for record in good}),
        records=len(good),
        failed=len(records) - len(good),
        queries=float(np.mean([record.queries or 0 for record in good])) if good else 0.0,
        scores=_scores(good, declared, options) if good else {},
    )


def _scores(records: Sequence[Record], declared: ScoreRange, options: TableOptions) -> dict[str, Estimate]:
    numbers = _Numbers(records)

    def statistics(rows: Rows) -> list[float]:
        return _statistics(numbers, rows, declared, options)

    images = [record.image for record in records]
    estimates = clustered_bootstrap(statistics, images, resamples=options.resamples)
    return {column.key: estimate for column, estimate in zip(COLUMNS, estimates, strict=True)}


class _Numbers:
    """The records' numbers as arrays, one value for each record."""

    def __init__(self, records: Sequence[Record]) -> None:
        def column(name: str) -> Values:
            return np.array([getattr(record, name) for record in records], dtype=np.float64)

        self.clean = column("clean_score")
        self.clean_defended = column("clean_defended")
        self.attacked = column("attacked_defended")
        self.attacked_8bit = column("attacked_defended_8bit")
        self.psnr, self.ssim = column("psnr"), column("ssim")
        self.spread = _spread(records, self.attacked)
        self.purified_psnr, self.purified_ssim = column("purified_psnr"), column("purified_ssim")


def _spread(records: Sequence[Record], attacked: Values) -> Values:
    """Standard deviation over the draws of each record's picture; NaN where there is one draw."""
    places: dict[str, list[int]] = {}
    for place, record in enumerate(records):
        places.setdefault(record.image, []).append(place)
    spread = np.full(len(records), np.nan)
    for drawn in places.values():
        if len(drawn) > 1:
            spread[drawn] = attacked[drawn].std(ddof=1)
    return spread


def _statistics(numbers: _Numbers, rows: Rows, declared: ScoreRange, options: TableOptions) -> list[float]:
    """The numbers of `COLUMNS`, in that order."""
    clean, attacked = numbers.clean_defended[rows], numbers.attacked[rows]
    u, v = scale_pair(clean, attacked, declared, options.scaling)
    _, v_8bit = scale_pair(clean, numbers.attacked_8bit[rows], declared, options.scaling)
    return [
        float(clean.mean()),
        float(attacked.mean()),
        absolute_gain(u, v),
        absolute_gain(u, v_8bit),
        relative_gain(u, v),
        r_score(u, v, mode=options.r_mode),
        wasserstein_score(u, v),
        energy_score(u, v),
        purification_gain(numbers.clean[rows], attacked),
        quality_score(numbers.purified_ssim[rows], numbers.purified_psnr[rows]),
        srocc(numbers.clean[rows], attacked),
        float(numbers.spread[rows].mean()),
        float(numbers.psnr[rows].mean()),
        float(numbers.ssim[rows].mean()),
    ]
