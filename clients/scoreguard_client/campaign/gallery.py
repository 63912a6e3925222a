"""The images of a run: exact arrays of attacked batches, so that a resumed run does not attack again, and PNG files.

A file that exists is whole.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from scoreguard.support.whole_files import write_whole
from scoreguard_client.attacks.base import AttackResult
from scoreguard_client.campaign.errors import RunError
from scoreguard_client.campaign.ledger import IMAGES
from scoreguard_client.campaign.results import ShownImage
from scoreguard_client.target.crafting import CraftedBatch
from scoreguard_client.target.units import Unit


@dataclass(frozen=True)
class Gallery:
    """The folder `images` of a run."""

    run: Path
    """The run directory."""
    shown: Collection[str]
    """Names of the images to keep as PNG files."""
    keep_all: bool = False
    """Whether to keep every image, with its exact float values."""
    keep_attacked: bool = False
    """Whether to keep every clean and attacked image as PNG files; purified ones only if they are shown."""

    def has(self, unit: Unit) -> bool:
        """Whether the attacked images of a unit are kept."""
        return self._batch_path(unit).is_file()

    def load(self, unit: Unit) -> CraftedBatch | None:
        """The attacked images of a unit, or None if they must be made (again)."""
        try:
            with np.load(io.BytesIO(self._batch_path(unit).read_bytes()), allow_pickle=False) as arrays:
                return _batch_of(arrays)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None

    def save(self, unit: Unit, batch: CraftedBatch) -> None:
        """Keep the attacked images of a unit."""
        result, buffer = batch.result, io.BytesIO()
        np.savez_compressed(
            buffer,
            attacked=result.attacked,
            attacked_8bit=result.attacked_8bit,
            scores=result.scores,
            queries=result.queries,
            trace=result.trace,
            flags=np.array(result.flags),
            seconds=np.float64(batch.seconds),
        )
        _write(self._batch_path(unit), buffer.getvalue())

    def finish(self, unit: Unit) -> None:
        """Delete what is needed only until a unit's records are written, unless everything is kept."""
        if not self.keep_all:
            self._batch_path(unit).unlink(missing_ok=True)

    def shows(self, image: str) -> bool:
        """Whether an image is kept as PNG files."""
        return self.keep_all or self.keep_attacked or image in self.shown

    def keep(self, shown: ShownImage) -> None:
        """Keep an image as PNG, unless it is purified and nobody asked for it."""
        if shown.chain and not self.keep_all and shown.image not in self.shown:
            return
        buffer = io.BytesIO()
        PIL.Image.fromarray(shown.levels).save(buffer, "PNG")
        path = image_path(
            self.run,
            shown.image,
            metric=shown.metric,
            attack=shown.attack,
            attacked_through=shown.attacked_through,
            chain=shown.chain,
        )
        _write(path, buffer.getvalue())

    def _batch_path(self, unit: Unit) -> Path:
        return self.run / IMAGES / "batches" / f"{unit.key}.npz"


def _batch_of(arrays: Mapping[str, npt.NDArray[Any]]) -> CraftedBatch:
    scores = arrays["scores"]
    result = AttackResult(
        attacked=arrays["attacked"],
        attacked_8bit=arrays["attacked_8bit"],
        scores=scores,
        queries=arrays["queries"],
        # Runs of earlier versions did not keep the trace.
        trace=arrays["trace"] if "trace" in arrays else np.empty((0, len(scores))),
        flags=tuple(arrays["flags"].tolist()),
    )
    return CraftedBatch(result=result, seconds=float(arrays["seconds"]))


def image_path(
    run: Path, image: str, *, metric: str = "", attack: str = "", attacked_through: str = "", chain: str = ""
) -> Path:
    """Return the path of an image of a run: clean without a metric and an attack, purified with a chain."""
    parts = [_slug(part) for part in (metric, attack, attacked_through, chain) if part]
    return run / IMAGES / _slug(image) / f"{'__'.join(parts) or 'clean'}.png"


def _slug(text: str) -> str:
    stem = "".join(character if character.isalnum() else "-" for character in text.split(":")[0])
    return f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _write(path: Path, data: bytes) -> None:
    try:
        write_whole(path, data, shared=True)
    except OSError as error:
        why = error.strerror or str(error)
        raise RunError(
            f"cannot write {path}: {why}; the records so far are kept, rerun the command to resume"
        ) from error
