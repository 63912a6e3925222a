"""Base of the edits that save the image in a lossy format and open it again.

The strength is that of the compression: the quality falls from 100, at strength 0, to the parameter. The bytes are
those of Pillow's encoder with its own settings (4:2:0 chroma), so another version of its libraries may give others.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from PIL import Image

from scoreguard_client.attacks.free.base import AtStrength, EightBit, FreeEdit

_BEST: Final = 100


@dataclass(frozen=True, kw_only=True)
class ReencodedEdit(FreeEdit):
    """One format at one quality."""

    file_format: ClassVar[str]
    """Pillow's name of the format."""
    settings: ClassVar[dict[str, Any]] = {}
    """Further settings of the encoder."""

    quality: int = 75
    """Quality of the encoder, 1 to 100."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(1 <= self.quality <= _BEST, f"quality must be 1 to {_BEST}, not {self.quality}")

    def editor(self, image: EightBit, rng: np.random.Generator) -> AtStrength:
        """Save and open at a quality between 100 and the parameter."""
        del rng

        def at(strength: float) -> EightBit:
            return self.saved(image, round(_BEST + strength * (self.quality - _BEST)))

        return at

    def saved(self, image: EightBit, quality: int) -> EightBit:
        """Encode an image at a quality, and decode the bytes."""
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, self.file_format, quality=quality, **self.settings)
        with Image.open(stream) as decoded:
            return np.asarray(decoded.convert("RGB"))
