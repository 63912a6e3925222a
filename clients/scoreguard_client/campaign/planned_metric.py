"""A metric of a plan: what the deployment behind it must be, and what a campaign needs of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from scoreguard.score_range import ScoreRange
from scoreguard.v1.spec import UNDEFENDED

DECLARED: Final = "declared"
_LISTS: Final = ("chains", "random_chains", "companions")


@dataclass(frozen=True, kw_only=True)
class PlannedMetric:
    """One of the attacked metrics."""

    name: str
    """Its name on the server."""
    archive_sha256: str
    """Digest of the deployed archive, hexadecimal."""
    range_low: float
    """Lowest score of the range used."""
    range_high: float
    """Highest score of the range used."""
    higher_is_better: bool
    """False if a low score means high quality."""
    range_source: str = DECLARED
    """Where the range is from: `declared` by the archive."""
    chains: tuple[str, ...]
    """Chains in their text form, every parameter named; `none` = undefended."""
    random_chains: tuple[str, ...] = ()
    """Those of the chains whose score depends on the seed."""
    gradients: str
    """Source of gradients: `live`, `local:` and the digest of the surrogate, or `unused`."""
    companions: tuple[str, ...] = ()
    """Sources of the other metrics that attacks need: name, `live` or `local`, digest."""

    @property
    def declared(self) -> ScoreRange:
        """The range with its direction, for scaling scores."""
        return ScoreRange(low=self.range_low, high=self.range_high, higher_is_better=self.higher_is_better)

    @property
    def scored_clean(self) -> tuple[str, ...]:
        """The chains that clean images are scored behind: `none` is always one, since every record states f(x)."""
        return tuple(dict.fromkeys([UNDEFENDED, *self.chains]))

    @staticmethod
    def from_stored(data: dict[str, Any]) -> PlannedMetric:
        """Read what `dataclasses.asdict` and JSON made of one."""
        values: dict[str, Any] = data | {name: tuple(data[name]) for name in _LISTS}
        return PlannedMetric(**values)
