"""`train_lite`: the whole run, from photographs to the weights file and the record next to it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from scoreguard.chain.devices import versions
from scoreguard_export.training.config import TrainingConfig
from scoreguard_export.training.crops import LabelledCrops, load_or_make_crops
from scoreguard_export.training.loop import EpochReport, LoopState, resume, run_epochs
from scoreguard_export.training.photos import load_photos
from scoreguard_export.weights.tensors import write_tensors

Reported = Callable[[str], None]


def train_lite(config: TrainingConfig, *, progress: Reported | None = None, console: Console | None = None) -> Path:
    """Train the lite metric; the same command continues a run that was stopped.

    Args:
        config: the run.
        progress: called with one line per finished epoch.
        console: console of the progress bar; standard error if none is given. Shown only on terminals.

    Returns:
        The weights file.

    Raises:
        TrainingError: no photographs, or a checkpoint of another configuration.
    """
    console = console or Console(stderr=True)
    tell = progress or (lambda line: None)
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        with _bar(console) as bar:
            return _train(config, bar, tell)
    finally:
        torch.set_num_threads(before)


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _train(config: TrainingConfig, bar: Progress, tell: Reported) -> Path:
    state = resume(config)
    making = bar.add_task("crops", total=config.crops + config.validation_crops)
    crops = load_or_make_crops(config, lambda count: bar.advance(making, count))
    tell(f"{len(crops[0].labels)} crops to train on, {len(crops[1].labels)} to validate on")
    per_epoch = config.crops // config.batch * config.batch
    learning = bar.add_task("epochs", total=per_epoch * config.epochs, completed=per_epoch * len(state.history))
    run_epochs(
        state, crops, config, lambda count: bar.advance(learning, count), lambda report: tell(_line(report, config))
    )
    write_weights(state, config.out)
    write_record(state, crops, config)
    return config.out


def _line(report: EpochReport, config: TrainingConfig) -> str:
    return (
        f"epoch {report.epoch}/{config.epochs}: loss {report.loss:.4f}, "
        f"validation SROCC {report.validation_srocc:.4f}, {report.seconds:.0f} s"
    )


def write_weights(state: LoopState, path: Path) -> None:
    """Write the network in safetensors, moved into place when complete."""
    write_tensors(path, state.metric.state_dict())


def write_record(state: LoopState, crops: tuple[LabelledCrops, LabelledCrops], config: TrainingConfig) -> None:
    """Write how the weights were made, as JSON next to them."""
    last = state.history[-1]
    record = {
        "command": command_line(config),
        "config_sha256": config.digest(),
        "data_sha256": config.data_digest(),
        "photos": [folder.name for folder in config.photos] + (["scikit-image"] if config.bundled else []),
        "excluded": list(config.exclude),
        "held_out": list(config.holdout),
        "trained_on": sorted(load_photos(config)[0]),
        "seed": config.seed,
        "crops": len(crops[0].labels),
        "validation_crops": len(crops[1].labels),
        "crop_size": config.crop_size,
        "kinds": dict(sorted(Counter(kind.partition("+")[0] for kind in crops[0].kinds.tolist()).items())),
        "epochs": last.epoch,
        "seconds": round(sum(report.seconds for report in state.history)),
        "final_loss": round(last.loss, 5),
        "validation_srocc": round(last.validation_srocc, 4),
        "parameters": sum(value.numel() for value in state.metric.parameters()),
        "torch": torch.__version__,
        **versions(config.device),
    }
    config.out.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")


def command_line(config: TrainingConfig) -> str:
    """Return the command that repeats the run, with folders by name."""
    words = ["scoreguard-export train lite"]
    words += [f"--photos {folder.name}" for folder in config.photos]
    words += [] if config.bundled else ["--no-bundled"]
    words += [f"--exclude {name}" for name in config.exclude] + [f"--holdout {name}" for name in config.holdout]
    words += [f"--seed {config.seed} --epochs {config.epochs} --crops {config.crops}"]
    words += [f"--validation-crops {config.validation_crops} --crop-size {config.crop_size} --batch {config.batch}"]
    words += [f"--learning-rate {config.learning_rate} --ranking-weight {config.ranking_weight}"]
    words += [] if config.device.is_cpu else [f"--device {config.device.name}"]
    return " ".join(words)
