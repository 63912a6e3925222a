"""`train_filter`: the FCN filter by the study's recipe, seeded and resumable after every epoch.

Mean squared error between the filtered attacked image and its original, Adam at 1e-3, 200 epochs of batches of 4, a
fifth of the images kept for validation; the weights of the epoch with the best validation SSIM are kept (Gushchin et
al. 2024, arXiv 2404.06957, and its public code). The error is taken before the clamp to [0, 1], which has no gradient
for clipped values.
"""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from scoreguard.chain.devices import THE_CPU, Device, versions
from scoreguard_export.defences.fcn_filter import FilterNetwork
from scoreguard_export.defences.shipped import write_weights
from scoreguard_export.errors import TrainingError
from scoreguard_export.training.checkpoint import (
    digest_of,
    read_checkpoint,
    torch_threads,
    write_checkpoint,
    write_record,
)
from scoreguard_export.training.filter_pairs import Pair, digest_of_pairs, read_pairs
from scoreguard_export.training.measures import measures
from scoreguard_export.training.placement import computing, on_host

_DECISIVE = ("seed", "epochs", "batch", "learning_rate", "validation_share")


@dataclass(frozen=True, kw_only=True)
class FilterConfig:
    """One training run; equal configurations on equal images make equal weights."""

    attacked: Path
    """Folder of attacked images, or of a campaign that kept its images."""
    clean: Path | None = None
    """Folder of the originals, under the same names; not needed for a campaign."""
    attack: str = "advcf"
    """Which attack of a campaign to learn from."""
    out: Path
    """The weights file to write, in safetensors; a `.json` next to it says how they were made."""
    work: Path
    """Folder for the checkpoint."""
    checkpoint: Path | None = None
    """Checkpoint to continue from and to write; None = `checkpoint.pt` in the work folder."""
    seed: int = 0
    epochs: int = 200
    batch: int = 4
    learning_rate: float = 1e-3
    validation_share: float = 0.2
    """Share of the originals kept for validation."""
    threads: int = 1
    """Torch threads."""
    device: Device = THE_CPU
    """Where the network is trained; a run may resume on another device."""

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch, self.threads) < 1 or not 0.0 < self.validation_share < 1.0:
            raise TrainingError("epochs, batch and threads are at least 1, the validation share between 0 and 1")

    @property
    def checkpoint_path(self) -> Path:
        """Return the path of the checkpoint with the loop's state."""
        return self.checkpoint or self.work / "checkpoint.pt"

    def digest(self, pairs: list[Pair]) -> str:
        """Return the digest of everything that determines the weights."""
        values = asdict(self)
        return digest_of({name: values[name] for name in _DECISIVE} | {"pairs": digest_of_pairs(pairs)})


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """Results of one epoch."""

    epoch: int
    loss: float
    """Mean squared error on the training images."""
    validation_ssim: float
    seconds: float


@dataclass(kw_only=True)
class FilterState:
    """Everything a run needs to continue: the order of the batches follows from the epoch."""

    network: FilterNetwork
    optimiser: torch.optim.Optimizer
    best: dict[str, Tensor] = field(default_factory=dict)
    history: list[EpochReport] = field(default_factory=list)

    @property
    def best_report(self) -> EpochReport:
        """Return the epoch whose weights are kept; the first one on ties."""
        return max(self.history, key=lambda report: report.validation_ssim)


def train_filter(config: FilterConfig, *, progress: Callable[[str], None] = lambda line: None) -> Path:
    """Train the filter; the same command continues a run that was stopped.

    Args:
        config: the run.
        progress: called with one line per finished epoch.

    Returns:
        The weights file.

    Raises:
        TrainingError: no pairs of images, or a checkpoint of another configuration.
    """
    pairs = read_pairs(config.attacked, config.clean, config.attack)
    training, validation = split_pairs(pairs, config)
    progress(f"{len(training)} images to train on, {len(validation)} to validate on")
    digest = config.digest(pairs)
    state = resume(config, digest)
    with torch_threads(config.threads):
        for epoch in range(len(state.history), config.epochs):
            with computing(config.device):
                run_epoch(state, training, validation, config, epoch)
            save_state(state, config, digest)
            progress(_line(state.history[-1], config))
    network = FilterNetwork()
    network.load_state_dict(state.best)
    write_weights(network, config.out)
    write_record(config.out, _record(state, config, digest, (training, validation)))
    return config.out


def split_pairs(pairs: list[Pair], config: FilterConfig) -> tuple[list[Pair], list[Pair]]:
    """Split pairs to train on and to validate on; no original is in both."""
    names = sorted({pair.name for pair in pairs})
    count = max(1, round(config.validation_share * len(names)))
    if count >= len(names):
        raise TrainingError(f"{len(names)} images are too few: some are to learn from, and some to validate on")
    kept = {names[i] for i in np.random.default_rng([config.seed, 0]).permutation(len(names))[:count]}
    return [p for p in pairs if p.name not in kept], [p for p in pairs if p.name in kept]


def new_state(config: FilterConfig) -> FilterState:
    """Make a fresh network, the same for the same seed."""
    torch.manual_seed(config.seed)
    network = FilterNetwork().to(config.device.torch)
    return FilterState(network=network, optimiser=torch.optim.Adam(network.parameters(), lr=config.learning_rate))


def batches(pairs: list[Pair], config: FilterConfig, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield attacked images with their originals in random order; a batch has images of one size."""
    waiting: dict[tuple[int, ...], list[Pair]] = defaultdict(list)
    for index in np.random.default_rng([config.seed, 1, epoch]).permutation(len(pairs)):
        batch = waiting[pairs[index].clean.shape]
        batch.append(pairs[index])
        if len(batch) == config.batch:
            yield tensors(batch)
            batch.clear()
    yield from (tensors(rest) for rest in waiting.values() if rest)


def tensors(pairs: list[Pair]) -> tuple[Tensor, Tensor]:
    """Return attacked images and originals of one size, (N, 3, H, W) in [0, 1]."""
    stacks = (np.stack([pair.attacked for pair in pairs]), np.stack([pair.clean for pair in pairs]))
    attacked, clean = (torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 255.0 for stack in stacks)
    return attacked, clean


def run_epoch(
    state: FilterState, training: list[Pair], validation: list[Pair], config: FilterConfig, epoch: int
) -> None:
    """Train on every pair once, then validate; the state keeps the best weights so far."""
    begun, total, there = time.perf_counter(), 0.0, config.device.torch
    for attacked, clean in batches(training, config, epoch):
        loss = functional.mse_loss(state.network(attacked.to(there)), clean.to(there))
        state.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimiser.step()
        total += loss.item() * len(clean)
    report = EpochReport(
        epoch=epoch + 1,
        loss=total / len(training),
        validation_ssim=validation_ssim(state.network, validation),
        seconds=time.perf_counter() - begun,
    )
    state.history.append(report)
    if state.best_report is report:
        state.best = on_host(copy.deepcopy(state.network.state_dict()), config.device)


@torch.no_grad()
def validation_ssim(network: FilterNetwork, pairs: list[Pair]) -> float:
    """Return the mean SSIM (Wang et al. 2004, windows of 11 pixels) of filtered images and originals, at full size."""
    piq = measures()
    device = next((weight.device for weight in network.parameters()), torch.device("cpu"))
    values = []
    for pair in pairs:
        attacked, clean = tensors([pair])
        filtered = network(attacked.to(device)).clamp(0.0, 1.0).cpu()
        values.append(float(piq.ssim(filtered, clean, data_range=1.0, downsample=False)))
    return float(np.mean(values))


def save_state(state: FilterState, config: FilterConfig, digest: str) -> None:
    """Save everything that a killed run needs to resume."""
    content: dict[str, Any] = {
        "network": state.network.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "best": state.best,
        "history": [asdict(report) for report in state.history],
    }
    write_checkpoint(config.checkpoint_path, digest, on_host(content, config.device))


def resume(config: FilterConfig, digest: str) -> FilterState:
    """Return the state of the checkpoint if there is one, else a fresh one.

    Raises:
        TrainingError: the checkpoint is damaged or belongs to another configuration.
    """
    state, content = new_state(config), read_checkpoint(config.checkpoint_path, digest)
    if content is not None:
        state.network.load_state_dict(content["network"])
        state.optimiser.load_state_dict(content["optimiser"])
        state.best = content["best"]
        state.history = [EpochReport(**report) for report in content["history"]]
    return state


def _line(report: EpochReport, config: FilterConfig) -> str:
    return (
        f"epoch {report.epoch}/{config.epochs}: loss {report.loss:.5f}, "
        f"validation SSIM {report.validation_ssim:.4f}, {report.seconds:.0f} s"
    )


def _record(
    state: FilterState, config: FilterConfig, digest: str, split: tuple[list[Pair], list[Pair]]
) -> dict[str, Any]:
    best = state.best_report
    return {
        "command": command_line(config),
        "config_sha256": digest,
        "pairs_sha256": digest_of_pairs(sorted(split[0] + split[1], key=lambda pair: pair.name)),
        "attacked": config.attacked.name,
        "training_images": len(split[0]),
        "held_out": sorted({pair.name for pair in split[1]}),
        "trained_on": sorted({pair.name for pair in split[0]}),
        "seed": config.seed,
        "epochs": len(state.history),
        "batch": config.batch,
        "learning_rate": config.learning_rate,
        "loss": "mean squared error",
        "best_epoch": best.epoch,
        "validation_ssim": round(best.validation_ssim, 4),
        "validation_ssim_unfiltered": round(_unfiltered_ssim(split[1]), 4),
        "final_loss": round(state.history[-1].loss, 6),
        "seconds": round(sum(report.seconds for report in state.history)),
        "parameters": sum(value.numel() for value in state.network.parameters()),
        "torch": torch.__version__,
        **versions(config.device),
    }


def _unfiltered_ssim(pairs: list[Pair]) -> float:
    piq = measures()
    return float(np.mean([float(piq.ssim(*tensors([pair]), data_range=1.0, downsample=False)) for pair in pairs]))


def command_line(config: FilterConfig) -> str:
    """Return the command that repeats the run, with folders by name."""
    words = [f"scoreguard-export train fcn-filter --attacked {config.attacked.name}"]
    words += [f"--clean {config.clean.name}"] if config.clean else [f"--attack {config.attack}"]
    words += [f"--seed {config.seed} --epochs {config.epochs} --batch {config.batch}"]
    words += [f"--learning-rate {config.learning_rate} --validation-share {config.validation_share}"]
    words += [] if config.device.is_cpu else [f"--device {config.device.name}"]
    return " ".join(words)
