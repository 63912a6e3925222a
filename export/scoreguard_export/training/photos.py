"""Pristine photographs: those that come with scikit-image, and the user's folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scoreguard.images import image_files, read_image
from scoreguard.v1.errors import ImageError
from scoreguard_export.errors import TrainingError
from scoreguard_export.training.config import TrainingConfig

Bytes = NDArray[np.uint8]

_BUNDLED = ("astronaut", "coffee", "chelsea", "rocket")


def load_photos(config: TrainingConfig) -> tuple[dict[str, Bytes], dict[str, Bytes]]:
    """Load photographs by name, for training and for validation, each (H, W, 3) in 8 bits.

    Raises:
        TrainingError: a folder is missing, a name to hold out is unknown, or one of the two sets is empty.
    """
    every = (bundled_photos() if config.bundled else {}) | photos_in(config.photos)
    allowed = {name: photo for name, photo in every.items() if name not in config.exclude}
    if unknown := sorted(set(config.holdout) - set(allowed)):
        raise TrainingError(f"cannot hold out {', '.join(unknown)}: no such photograph in the folders given")
    training = {name: photo for name, photo in allowed.items() if name not in config.holdout}
    if not training or not config.holdout:
        raise TrainingError("training needs photographs to learn from and some to hold out: name both")
    return training, {name: allowed[name] for name in config.holdout}


def bundled_photos() -> dict[str, Bytes]:
    """Return the bundled photographs of natural scenes; loading them needs no download."""
    from skimage import data

    return {name: np.asarray(getattr(data, name)(), np.uint8)[..., :3] for name in _BUNDLED}


def photos_in(folders: tuple[Path, ...]) -> dict[str, Bytes]:
    """Return the images of folders by the stem of their names, in name order."""
    photos: dict[str, Bytes] = {}
    for folder in folders:
        if not folder.is_dir():
            raise TrainingError(f"no folder of photographs at {folder}")
        for path in image_files(folder):
            photos[path.stem] = read_photo(path)
    return photos


def read_photo(path: Path) -> Bytes:
    """Read a photograph in 8 bits, (H, W, 3), as the server reads it; deeper ones are rounded.

    Raises:
        TrainingError: the file cannot be read; the message names the path.
    """
    try:
        values = read_image(path.read_bytes())
    except (OSError, ImageError) as error:
        raise TrainingError(f"cannot read the photograph {path}: {error}") from error
    return np.asarray(values if values.dtype == np.uint8 else np.rint(values * np.float32(255)), np.uint8)
