"""Configuration of a training run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from scoreguard.chain.devices import THE_CPU, Device
from scoreguard_export.errors import TrainingError
from scoreguard_export.training.checkpoint import digest_of

_DATA_FIELDS = ("photos", "bundled", "exclude", "holdout", "seed", "crops", "validation_crops", "crop_size")
_LOOP_FIELDS = ("epochs", "batch", "learning_rate", "ranking_weight")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One training run; equal configurations make equal crops and the same order of batches."""

    photos: tuple[Path, ...] = ()
    """Folders of pristine photographs (PNG, JPEG, WebP), read without their subfolders."""
    bundled: bool = True
    """Whether to also use the colour photographs that come with scikit-image."""
    exclude: tuple[str, ...] = ()
    """Names of photographs never to use, without extension: those that a test set contains."""
    holdout: tuple[str, ...] = ()
    """Names of photographs kept for validation only, without extension."""
    out: Path
    """The weights file to write, in safetensors; a `.json` next to it says how they were made."""
    work: Path
    """Folder for the cached crops and the checkpoint."""
    checkpoint: Path | None = None
    """Checkpoint to continue from and to write; None = `checkpoint.pt` in the work folder."""
    seed: int = 0
    epochs: int = 24
    crops: int = 20_000
    """Distorted crops to train on."""
    validation_crops: int = 1_000
    """Distorted crops of the held-out photographs."""
    crop_size: int = 112
    """Side of a crop, in pixels."""
    batch: int = 48
    learning_rate: float = 3e-3
    """Peak of the one-cycle schedule."""
    ranking_weight: float = 0.3
    """Weight of the pairwise ranking term relative to the smooth L1 term."""
    workers: int = 1
    """Processes that distort and label crops; the crops do not depend on it."""
    threads: int = 1
    """Torch threads of the loop."""
    device: Device = THE_CPU
    """Where the network is trained; a run may resume on another device."""

    def __post_init__(self) -> None:
        if min(self.epochs, self.crops, self.validation_crops, self.workers, self.threads) < 1 or self.batch < 2:
            raise TrainingError("epochs, crops, validation crops, workers and threads are at least 1, batch at least 2")
        if self.crop_size < 64:
            raise TrainingError(f"crop size {self.crop_size} is too small for the labels: use 64 or more")

    @property
    def checkpoint_path(self) -> Path:
        """Return the path of the checkpoint with the loop's state."""
        return self.checkpoint or self.work / "checkpoint.pt"

    def data_digest(self) -> str:
        """Return the digest of everything that determines the crops."""
        return self._digest(_DATA_FIELDS)

    def digest(self) -> str:
        """Return the digest of everything that determines the weights."""
        return self._digest(_DATA_FIELDS + _LOOP_FIELDS)

    def _digest(self, names: tuple[str, ...]) -> str:
        values = asdict(self)
        return digest_of({name: values[name] for name in names})
