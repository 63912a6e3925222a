"""Where weights live, and under which licence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class WeightsSource:
    """Where the weights of a metric or a defence live."""

    licence: str
    """Licence of the weights, as their publisher names it."""
    shipped: Path | None = None
    """File inside this package; None where the weights are not ours to ship."""
    download: str = ""
    """Address that serves a file which loads as it is; empty where none is known."""
    url: str = ""
    """How to come by the official file, in words or by a page, where `download` does not say it all."""
    sha256: str = ""
    """Digest of the file at `download`, or of the one that `url` describes, hexadecimal; empty where not known."""

    made_by: str = ""
    """Command of this project that makes the file; empty for the weights of others."""

    @property
    def origin(self) -> str:
        """Where the official file is from."""
        return self.url or self.download
