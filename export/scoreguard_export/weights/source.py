"""Source and licence of weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class WeightsSource:
    """Source of the weights of a metric or a defence."""

    licence: str
    """Licence of the weights, as their publisher names it."""
    shipped: Path | None = None
    """File inside this package; None if the weights are not ours to ship."""
    download: str = ""
    """URL of a file that loads without conversion; empty if none is known."""
    url: str = ""
    """How to get the official file, in words or as a page, if `download` is not enough."""
    sha256: str = ""
    """Digest of the file at `download`, or of the one that `url` describes, hexadecimal; empty if unknown."""

    made_by: str = ""
    """Command of this project that makes the file; empty for third-party weights."""

    @property
    def origin(self) -> str:
        """Say where the official file is from."""
        return self.url or self.download
