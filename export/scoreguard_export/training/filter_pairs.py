"""Pairs of attacked images and their originals, from two folders or from the folder of a campaign.

In two folders, files with the same name (without extension) are a pair.

A campaign run with `scoreguard attack --attacks advcf --keep-all` leaves one folder of PNG files for each image:

    RUN/images/<image>/clean.png
    RUN/images/<image>/<attack>-<digest>__none-<digest>.png                attacked on the metric alone
    RUN/images/<image>/<attack>-<digest>__<chain>-<digest>[__<chain>…].png   attacked behind a defence, or purified

Only the second kind is used: images attacked without any defence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scoreguard_export.errors import TrainingError
from scoreguard_export.training.photos import Bytes, photos_in, read_photo

_CLEAN = "clean.png"
_UNDEFENDED = "none"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An attacked image and its original."""

    name: str
    """Name of the original."""
    attacked: Bytes
    """(H, W, 3)."""
    clean: Bytes
    """(H, W, 3)."""


def read_pairs(attacked: Path, clean: Path | None, attack: str = "advcf") -> list[Pair]:
    """Read the pairs in name order.

    Args:
        attacked: Folder of attacked images, or the folder of a campaign.
        clean: Folder of the originals; not needed for a campaign, which keeps them.
        attack: Which attack of a campaign.

    Raises:
        TrainingError: a folder is missing, there is no pair, or two images of a pair differ in size.
    """
    if (attacked / "images").is_dir():
        pairs = list(_campaign_pairs(attacked / "images", attack))
    elif clean is None:
        raise TrainingError(f"{attacked} is not the folder of a campaign: name the originals by --clean")
    else:
        pairs = list(_folder_pairs(attacked, clean))
    if not pairs:
        raise TrainingError(f"no attacked image in {attacked} has an original of the same name")
    for pair in pairs:
        if pair.attacked.shape != pair.clean.shape:
            raise TrainingError(f"{pair.name} differs in size from its original: attack images at their own size")
    return pairs


def digest_of_pairs(pairs: list[Pair]) -> str:
    """Return the SHA-256 of all pixels in order, hexadecimal."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(f"{pair.name} {pair.clean.shape}".encode())
        digest.update(pair.attacked.tobytes() + pair.clean.tobytes())
    return digest.hexdigest()


def _folder_pairs(attacked: Path, clean: Path) -> Iterator[Pair]:
    changed, originals = photos_in((attacked,)), photos_in((clean,))
    for name in sorted(changed.keys() & originals.keys()):
        yield Pair(name=name, attacked=changed[name], clean=originals[name])


def _campaign_pairs(images: Path, attack: str) -> Iterator[Pair]:
    for original in sorted(images.glob(f"*/{_CLEAN}")):
        for path in sorted(original.parent.glob(f"{attack}-*__{_UNDEFENDED}-*.png")):
            if path.stem.count("__") == 1:
                yield Pair(name=original.parent.name, attacked=read_photo(path), clean=read_photo(original))
