"""Save as AVIF, which Pillow writes if it was built with libavif."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from PIL import features

from scoreguard_client.attacks.errors import FormatMissingError
from scoreguard_client.attacks.free.base import AtStrength, EightBit
from scoreguard_client.attacks.free.reencoded import ReencodedEdit


def writes_avif() -> bool:
    """Whether this Pillow can."""
    return bool(features.check("avif"))


@dataclass(frozen=True, kw_only=True)
class FreeAVIF(ReencodedEdit):
    """Pillow's AVIF encoder at one quality; 75 is its own default."""

    name = "free-avif"
    title = "Save as AVIF"
    file_format = "AVIF"
    settings: ClassVar[dict[str, Any]] = {"max_threads": 1}
    asks_for = "" if writes_avif() else "a Pillow that writes AVIF"

    def pinned(self) -> Self:
        """Return the same attack.

        Raises:
            FormatMissingError: this Pillow cannot write AVIF.
        """
        self._require()
        return self

    def editor(self, image: EightBit, rng: np.random.Generator) -> AtStrength:
        """Save and open at a quality between 100 and the parameter.

        Raises:
            FormatMissingError: this Pillow cannot write AVIF.
        """
        self._require()
        return super().editor(image, rng)

    def _require(self) -> None:
        if not writes_avif():
            raise FormatMissingError(self.name, self.file_format)
