"""Source and licence of weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from scoreguard_export.weights.packages import WheelMember


class CommercialUse(StrEnum):
    """Whether the publisher of weights allows commercial use of them; a table of licences, and no legal advice."""

    YES = "yes"
    """The licence grants it."""
    NO = "no"
    """The licence forbids it, or grants other uses only."""
    NOT_STATED = "not stated"
    """The publisher states no licence, hence grants nothing."""

    @property
    def notice(self) -> str:
        """Return the warning to a user, in a few words; empty if commercial use is allowed."""
        return _NOTICES[self]


_NOTICES = {
    CommercialUse.YES: "",
    CommercialUse.NO: "this licence grants no commercial use",
    CommercialUse.NOT_STATED: "no licence is stated, which grants no commercial use: ask the publisher",
}
_STRICTEST = (CommercialUse.NO, CommercialUse.NOT_STATED, CommercialUse.YES)


def strictest(uses: Iterable[CommercialUse]) -> CommercialUse:
    """Return what holds for several files together; nothing restricts none."""
    found = set(uses)
    return next((use for use in _STRICTEST if use in found), CommercialUse.YES)


@dataclass(frozen=True, kw_only=True)
class WeightsSource:
    """Source of the weights of a metric or a defence."""

    licence: str
    """Licence of the weights, as their publisher names it."""
    commercial: CommercialUse = CommercialUse.NOT_STATED
    """Whether that licence allows commercial use."""
    shipped: Path | None = None
    """File inside this package; None if the weights are not ours to ship."""
    download: str = ""
    """URL of a file that loads without conversion; empty if none is known."""
    package: WheelMember | None = None
    """A file in a package of the Python index that loads without conversion; None if there is none."""
    url: str = ""
    """How to get the official file, in words or as a page, if `download` is not enough."""
    sha256: str = ""
    """Digest of the file at `download`, or of the one that `url` describes, hexadecimal; empty if unknown."""
    converted_sha256: str = ""
    """Digest of a converted file that holds the same weights and loads too; empty if none is known."""
    size: int | None = None
    """Length of that file in bytes; None if unknown."""
    paper: str = ""
    """Where the weights were published, if not in the paper of the method that uses them."""

    made_by: str = ""
    """Command of this project that makes the file; empty for third-party weights."""

    def knows(self, sha256: str) -> bool:
        """Return whether a file with this digest is the official one, or a known conversion of it."""
        return bool(sha256) and sha256 in (self.sha256, self.converted_sha256)

    @property
    def known_digest(self) -> str:
        """Return the digest of the official file, else of the conversion; empty if neither is known."""
        return self.sha256 or self.converted_sha256

    @property
    def origin(self) -> str:
        """Say where the official file is from."""
        return self.url or self.download or (str(self.package) if self.package else "")

    @property
    def can_be_fetched(self) -> bool:
        """Return whether `weights get` needs no more than the name."""
        return bool(self.download or self.package)
