"""The training loop of the lite metric: seeded, resumable after every epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional

from scoreguard_export.metrics.lite import Lite
from scoreguard_export.training.checkpoint import read_checkpoint, write_checkpoint
from scoreguard_export.training.config import TrainingConfig
from scoreguard_export.training.crops import LabelledCrops
from scoreguard_export.training.placement import computing, on_host


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """Results of one epoch."""

    epoch: int
    loss: float
    validation_srocc: float
    """Spearman's rank correlation with the labels of the held-out crops."""
    seconds: float


@dataclass(kw_only=True)
class LoopState:
    """Everything a run needs to continue: the schedule and the order of batches follow from the epoch."""

    metric: Lite
    optimiser: torch.optim.Optimizer
    history: list[EpochReport] = field(default_factory=list)


def training_loss(scores: Tensor, labels: Tensor, ranking_weight: float) -> Tensor:
    """Smooth L1 on scores / 10, plus a pairwise logistic ranking loss on pairs that differ by more than 4 points."""
    fit = functional.smooth_l1_loss(scores / 10.0, labels / 10.0)
    order = labels[:, None] - labels[None, :]
    distinct = (order > 4.0).float()
    ranking = functional.softplus(-(scores[:, None] - scores[None, :]) / 5.0) * distinct
    return fit + ranking_weight * ranking.sum() / distinct.sum().clamp(min=1.0)


def new_state(config: TrainingConfig) -> LoopState:
    """Make a fresh network, the same for the same seed."""
    torch.manual_seed(config.seed)
    metric: Lite = Lite().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on CPUs
    metric = metric.to(config.device.torch)
    optimiser = torch.optim.AdamW(metric.parameters(), lr=config.learning_rate, weight_decay=1e-3)
    return LoopState(metric=metric, optimiser=optimiser)


def learning_rate(config: TrainingConfig, progress: float) -> float:
    """Return the rate: linear warm-up over the first 5 %, then a cosine to zero; `progress` runs from 0 to 1."""
    if progress < 0.05:
        return config.learning_rate * (0.05 + 0.95 * progress / 0.05)
    return config.learning_rate * 0.5 * (1.0 + float(np.cos(np.pi * (progress - 0.05) / 0.95)))


def augmented(images: np.ndarray, rng: np.random.Generator) -> Tensor:
    """(B, H, W, 3) bytes → (B, 3, H, W) floats, each batch mirrored or turned as one of the square's 8 symmetries."""
    batch = torch.from_numpy(images).permute(0, 3, 1, 2)
    batch = torch.rot90(batch, int(rng.integers(4)), (2, 3))
    batch = batch.flip(3) if rng.random() < 0.5 else batch
    return batch.float().contiguous(memory_format=torch.channels_last) / 255.0


def _batches(crops: LabelledCrops, config: TrainingConfig, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    rng = np.random.default_rng([config.seed, 2, epoch])
    order = rng.permutation(len(crops.labels))
    for start in range(0, len(order) - config.batch + 1, config.batch):
        chosen = np.sort(order[start : start + config.batch])
        yield augmented(crops.images[chosen], rng), torch.from_numpy(crops.labels[chosen])


def train_epoch(
    state: LoopState, crops: LabelledCrops, config: TrainingConfig, epoch: int, progress: Callable[[int], None]
) -> float:
    """Run one pass over the crops; return the mean loss."""
    state.metric.train()
    steps = len(crops.labels) // config.batch
    losses = []
    for step, (images, labels) in enumerate(_batches(crops, config, epoch)):
        for group in state.optimiser.param_groups:
            group["lr"] = learning_rate(config, (epoch + step / steps) / config.epochs)
        there = config.device.torch
        loss = training_loss(state.metric(images.to(there)), labels.to(there), config.ranking_weight)
        state.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimiser.step()
        losses.append(loss.item())
        progress(len(labels))
    return float(np.mean(losses))


@torch.no_grad()
def predict(metric: Lite, images: np.ndarray, batch: int = 100) -> np.ndarray:
    """Return the scores of equally sized images (N, H, W, 3) in bytes; they are computed where the metric is."""
    metric.eval()
    device = next(metric.parameters()).device
    parts = [torch.from_numpy(images[i : i + batch]) for i in range(0, len(images), batch)]
    return torch.cat([metric((part.permute(0, 3, 1, 2).float() / 255.0).to(device)).cpu() for part in parts]).numpy()


def validation_srocc(metric: Lite, crops: LabelledCrops) -> float:
    """Return the rank correlation of predictions and labels."""
    return float(spearmanr(predict(metric, crops.images), crops.labels).statistic)


def run_epochs(
    state: LoopState,
    crops: tuple[LabelledCrops, LabelledCrops],
    config: TrainingConfig,
    progress: Callable[[int], None],
    reported: Callable[[EpochReport], None],
) -> None:
    """Train until the last epoch, with a checkpoint after each."""
    for epoch in range(len(state.history), config.epochs):
        begun = time.perf_counter()
        with computing(config.device):
            loss = train_epoch(state, crops[0], config, epoch, progress)
            srocc = validation_srocc(state.metric, crops[1])
        seconds = time.perf_counter() - begun
        state.history.append(EpochReport(epoch=epoch + 1, loss=loss, validation_srocc=srocc, seconds=seconds))
        save_checkpoint(state, config)
        reported(state.history[-1])


def save_checkpoint(state: LoopState, config: TrainingConfig) -> None:
    """Write the state; a killed run leaves the checkpoint of the previous epoch."""
    content = {
        "metric": state.metric.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "history": [vars(report) for report in state.history],
    }
    write_checkpoint(config.checkpoint_path, config.digest(), on_host(content, config.device))


def resume(config: TrainingConfig) -> LoopState:
    """Return the state of the checkpoint if there is one, else a fresh one.

    Raises:
        TrainingError: the checkpoint is damaged or belongs to another configuration.
    """
    state, content = new_state(config), read_checkpoint(config.checkpoint_path, config.digest())
    if content is None:
        return state
    state.metric.load_state_dict(content["metric"])
    state.optimiser.load_state_dict(content["optimiser"])
    state.history = [EpochReport(**report) for report in content["history"]]
    return state
