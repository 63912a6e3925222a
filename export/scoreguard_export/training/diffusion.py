"""`train_diffusion`: the denoiser behind the diffusion purifier, seeded and resumable.

Crops of photographs get Gaussian noise ε of a strength σ drawn log-uniformly; the network learns to estimate ε:

    loss = σ/σ_max · ‖ε − n(x + σ·ε, σ)‖²

This is the simple objective of Ho et al. 2020 (eq. 14) in the form of a denoiser, weighted by σ. Without the weight,
the weakest noise, which nothing can remove, would fill the loss with its own variance; with σ², an error in pixels, the
strongest would. Adam, a short warm-up and a cosine down to zero; the weights written are a moving average.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from scoreguard.chain.devices import CPU, CUDA, THE_CPU, Device, versions
from scoreguard_export.defences.denoiser_net import HIGHEST, LOWEST, STRIDE, DenoiserNetwork
from scoreguard_export.defences.shipped import write_weights
from scoreguard_export.errors import TrainingError
from scoreguard_export.training.checkpoint import (
    digest_of,
    read_checkpoint,
    torch_threads,
    write_checkpoint,
    write_record,
)
from scoreguard_export.training.config import TrainingConfig
from scoreguard_export.training.denoising import LEVELS, Denoise, mean_psnr, middle
from scoreguard_export.training.photos import Bytes, load_photos
from scoreguard_export.training.placement import computing, on_host

_DATA = ("photos", "bundled", "exclude", "holdout")
_DECISIVE = (*_DATA, "seed", "steps", "batch", "crop", "learning_rate", "averaging", "bfloat16")
_WARM_UP = 500
_LARGEST_GRADIENT = 1.0
_BETAS = (0.9, 0.99)
_FUSED = (CPU, CUDA)
"""Kinds of device with a fused Adam."""
_VALIDATED = 25.0
"""Noise of the validation while training, in levels of 255."""
_VALIDATION_CROP = 256


@dataclass(frozen=True, kw_only=True)
class DiffusionConfig:
    """One training run; equal configurations on one machine make equal weights."""

    photos: tuple[Path, ...] = ()
    """Folders of photographs (PNG, JPEG, WebP), read without their subfolders."""
    bundled: bool = True
    """Whether to also use the colour photographs that come with scikit-image."""
    exclude: tuple[str, ...] = ()
    """Names of photographs never to use, without extension."""
    holdout: tuple[str, ...] = ()
    """Names of photographs used only to measure the result, never for training, without extension."""
    out: Path
    """The weights file to write, in safetensors of half precision; a `.json` next to it says how they were made."""
    work: Path
    """Folder for the checkpoint."""
    checkpoint: Path | None = None
    """Checkpoint to continue from and to write; None = `checkpoint.pt` in the work folder."""
    seed: int = 0
    steps: int = 40_000
    """Length of the schedule."""
    stop_at: int = 0
    """Step to stop at before the end of the schedule; 0 = at its end."""
    wind_down: int = 0
    """Steps before that end over which the learning rate falls to zero linearly."""
    batch: int = 16
    crop: int = 96
    """Side of a crop, in pixels."""
    learning_rate: float = 5e-4
    """Peak of the schedule."""
    averaging: float = 0.999
    """Decay of the moving average of the weights."""
    bfloat16: bool = True
    """Whether convolutions run in bfloat16: several times as fast if the processor supports it, slower otherwise."""
    save_every: int = 500
    """Steps between two checkpoints; the weights do not depend on it."""
    threads: int = 1
    """Torch threads."""
    device: Device = THE_CPU
    """Where the network is trained; a run may resume on another device."""

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.save_every, self.threads) < 1:
            raise TrainingError("steps, batch, steps between checkpoints and threads are at least 1")
        if self.stop_at < 0 or not 0 <= self.wind_down <= self.last_step:
            raise TrainingError("the step to stop at and the steps to wind down are 0 or more, and the latter no more")
        if self.crop < STRIDE or self.crop % STRIDE:
            raise TrainingError(f"crop size {self.crop} does not fit the network: use a multiple of {STRIDE}")
        if not 0.0 <= self.averaging < 1.0:
            raise TrainingError(f"the decay of the average is {self.averaging}: use 0 or more and less than 1")

    @property
    def checkpoint_path(self) -> Path:
        """Return the path of the checkpoint with the loop's state."""
        return self.checkpoint or self.work / "checkpoint.pt"

    @property
    def last_step(self) -> int:
        """Return the step at which the run ends."""
        return min(self.stop_at or self.steps, self.steps)

    def digest(self) -> str:
        """Return the digest of everything that determines the weights."""
        values = asdict(self)
        return digest_of({name: values[name] for name in _DECISIVE})


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """Results of the steps since the previous report."""

    step: int
    loss: float
    """Mean over these steps."""
    validation_psnr: float
    """PSNR of the averaged weights at σ = 25/255 on the middles of the held-out photographs, in dB."""
    seconds: float


@dataclass(kw_only=True)
class DiffusionState:
    """Everything a run needs to continue: crops, noise and learning rate follow from the step."""

    network: DenoiserNetwork
    averaged: DenoiserNetwork
    optimiser: torch.optim.Optimizer
    step: int = 0
    history: list[StepReport] = field(default_factory=list)


def train_diffusion(config: DiffusionConfig, *, progress: Callable[[str], None] = lambda line: None) -> Path:
    """Train the denoiser; the same command continues a run that was stopped.

    Args:
        config: the run.
        progress: called with one line per checkpoint.

    Returns:
        The weights file.

    Raises:
        TrainingError: no photographs, photographs smaller than a crop, or a checkpoint of another configuration.
    """
    training, validation = load_photographs(config)
    progress(f"{len(training)} photographs to train on, {len(validation)} to validate on")
    state = resume(config)
    with torch_threads(config.threads):
        while state.step < config.last_step:
            run_steps(state, list(training.values()), validation, config)
            save_state(state, config)
            progress(_line(state.history[-1], config))
        write_weights(state.averaged, config.out, torch.float16)
        write_record(config.out, _record(state, config, training, validation))
    return config.out


def load_photographs(config: DiffusionConfig) -> tuple[dict[str, Bytes], dict[str, Bytes]]:
    """Load photographs to train on and to validate on, by name.

    Raises:
        TrainingError: a folder is missing, a set is empty, or a photograph is smaller than a crop.
    """
    given = {name: value for name, value in vars(config).items() if name in _DATA}
    sets = load_photos(TrainingConfig(**given, out=config.out, work=config.work))
    for name, photo in sets[0].items():
        if min(photo.shape[:2]) < config.crop:
            raise TrainingError(f"{name} is smaller than a crop of {config.crop} pixels: exclude it")
    return sets


def new_state(config: DiffusionConfig) -> DiffusionState:
    """Make a fresh network, the same for the same seed."""
    torch.manual_seed(config.seed)
    network, averaged = (_for_training(DenoiserNetwork()) for _ in range(2))
    averaged.load_state_dict(network.state_dict())
    network, averaged = network.to(config.device.torch), averaged.to(config.device.torch)
    fused = config.device.kind in _FUSED
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate, betas=_BETAS, fused=fused)
    return DiffusionState(network=network, averaged=averaged.requires_grad_(False), optimiser=optimiser)


def _for_training(network: DenoiserNetwork) -> DenoiserNetwork:
    faster: DenoiserNetwork = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return faster


def learning_rate(config: DiffusionConfig, step: int) -> float:
    """Return the rate: a linear warm-up, then a cosine to zero at the last step, or a linear wind-down before."""
    warm_up = min(_WARM_UP, config.steps // 10 + 1)
    begun = min(step, config.last_step - config.wind_down)
    cosine = 0.5 * (1.0 + math.cos(math.pi * begun / config.steps))
    left = 1.0 - (step - begun) / max(1, config.wind_down)
    return config.learning_rate * min(1.0, (step + 1) / warm_up) * cosine * left


def draw_crops(photos: list[Bytes], config: DiffusionConfig, rng: np.random.Generator) -> Tensor:
    """Draw (batch, 3, crop, crop) in [0, 1] anywhere in the photographs, each in one of the square's 8 symmetries."""
    places = np.array([(p.shape[0] - config.crop + 1) * (p.shape[1] - config.crop + 1) for p in photos], float)
    crops = [_crop(photos[i], config.crop, rng) for i in rng.choice(len(photos), config.batch, p=places / places.sum())]
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255.0


def _crop(photo: Bytes, side: int, rng: np.random.Generator) -> Bytes:
    top, left = (int(rng.integers(length - side + 1)) for length in photo.shape[:2])
    turned = np.rot90(photo[top : top + side, left : left + side], int(rng.integers(4)))
    return turned[:, ::-1] if rng.random() < 0.5 else turned


def draw_batch(photos: list[Bytes], config: DiffusionConfig, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw crops, their standard normal noise and its strengths (batch,), all from the seed and the step."""
    rng = np.random.default_rng([config.seed, 3, step])
    clean = draw_crops(photos, config, rng)
    sigma = np.exp(rng.uniform(math.log(LOWEST), math.log(HIGHEST), config.batch)).astype(np.float32)
    noise = rng.standard_normal(tuple(clean.shape), dtype=np.float32)
    return clean, torch.from_numpy(noise), torch.from_numpy(sigma)


def training_loss(network: DenoiserNetwork, clean: Tensor, noise: Tensor, sigma: Tensor, bfloat16: bool) -> Tensor:
    """Return the weighted squared error of the estimated noise."""
    noisy = (clean + sigma[:, None, None, None] * noise).contiguous(memory_format=torch.channels_last)
    with torch.autocast(noisy.device.type, torch.bfloat16) if bfloat16 else nullcontext():
        estimate = network.noise(noisy, sigma)
    error = functional.mse_loss(estimate.float(), noise, reduction="none").mean(dim=(1, 2, 3))
    return (error * (sigma / HIGHEST)).mean()


def run_step(state: DiffusionState, photos: list[Bytes], config: DiffusionConfig) -> float:
    """Run one step of Adam and of the average; return the loss."""
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate(config, state.step)
    clean, noise, sigma = (drawn.to(config.device.torch) for drawn in draw_batch(photos, config, state.step))
    loss = training_loss(state.network, clean, noise, sigma, config.bfloat16)
    state.optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), _LARGEST_GRADIENT)
    state.optimiser.step()
    state.step += 1
    # Early averages forget the first steps sooner.
    kept = min(config.averaging, state.step / (state.step + 10))
    with torch.no_grad():
        torch._foreach_lerp_(list(state.averaged.parameters()), list(state.network.parameters()), 1.0 - kept)  # pyright: ignore[reportPrivateImportUsage]
    return loss.item()


def run_steps(
    state: DiffusionState, photos: list[Bytes], validation: Mapping[str, Bytes], config: DiffusionConfig
) -> None:
    """Train up to the next checkpoint, then validate."""
    begun = time.perf_counter()
    last = min((state.step // config.save_every + 1) * config.save_every, config.last_step)
    middles = [middle(photo, _VALIDATION_CROP) for photo in validation.values()]
    with computing(config.device):
        losses = [run_step(state, photos, config) for _ in range(last - state.step)]
        psnr = mean_psnr(denoiser_of(state.averaged), middles, _VALIDATED, config.seed)
    report = StepReport(
        step=state.step,
        loss=float(np.mean(losses)),
        validation_psnr=psnr,
        seconds=time.perf_counter() - begun,
    )
    state.history.append(report)


def denoiser_of(network: DenoiserNetwork) -> Denoise:
    """Wrap the network as it is served: the strength in levels of 255, the result clipped; images are on the host."""
    device = next(network.parameters()).device
    return lambda noisy, level: (
        network(noisy.to(device), torch.tensor(level / 255.0, device=device)).clamp(0.0, 1.0).cpu()
    )


def save_state(state: DiffusionState, config: DiffusionConfig) -> None:
    """Save everything that a killed run needs to resume."""
    content = {
        "network": state.network.state_dict(),
        "averaged": state.averaged.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "step": state.step,
        "winding": _winding(config, state.step),
        "history": [asdict(report) for report in state.history],
    }
    write_checkpoint(config.checkpoint_path, config.digest(), on_host(content, config.device))


def resume(config: DiffusionConfig) -> DiffusionState:
    """Return the state of the checkpoint if there is one, else a fresh one.

    Raises:
        TrainingError: the checkpoint is damaged or belongs to another configuration.
    """
    state, content = new_state(config), read_checkpoint(config.checkpoint_path, config.digest())
    if content is not None:
        state.network.load_state_dict(content["network"])
        state.averaged.load_state_dict(content["averaged"])
        state.optimiser.load_state_dict(content["optimiser"])
        state.step = content["step"]
        if content.get("winding", []) != _winding(config, state.step):
            raise TrainingError(f"{config.checkpoint_path} is winding down otherwise: repeat its command, or remove it")
        state.history = [StepReport(**report) for report in content["history"]]
    return state


def _winding(config: DiffusionConfig, step: int) -> list[int]:
    """Return the first and last step of the wind-down if it has begun by this step: it affects the weights too."""
    begin = config.last_step - config.wind_down
    return [begin, config.last_step] if config.wind_down and step > begin else []


def _line(report: StepReport, config: DiffusionConfig) -> str:
    return (
        f"step {report.step}/{config.steps}: loss {report.loss:.5f}, "
        f"PSNR at sigma {_VALIDATED:g} {report.validation_psnr:.2f} dB, {report.seconds:.0f} s"
    )


def _record(
    state: DiffusionState, config: DiffusionConfig, training: Mapping[str, Bytes], validation: Mapping[str, Bytes]
) -> dict[str, Any]:
    network = DenoiserNetwork().to(config.device.torch)
    # Measure the weights as written, rounded to half precision.
    network.load_state_dict({name: value.half().float() for name, value in state.averaged.state_dict().items()})
    whole = list(validation.values())
    return {
        "command": command_line(config),
        "config_sha256": config.digest(),
        "photos": [folder.name for folder in config.photos] + (["scikit-image"] if config.bundled else []),
        "training_photographs": len(training),
        "excluded": list(config.exclude),
        "held_out": list(config.holdout),
        "trained_on": sorted(training),
        "seed": config.seed,
        "steps": state.step,
        "steps_of_the_schedule": config.steps,
        "batch": config.batch,
        "crop": config.crop,
        "learning_rate": config.learning_rate,
        "averaging": config.averaging,
        "precision": "bfloat16" if config.bfloat16 else "float32",
        "sigma": [round(LOWEST * 255.0, 3), round(HIGHEST * 255.0, 3)],
        "loss": "squared error of the noise, weighted by sigma",
        "final_loss": round(state.history[-1].loss, 6),
        "psnr_of_held_out": {
            f"sigma {level:g}": round(mean_psnr(denoiser_of(network), whole, level, config.seed), 3) for level in LEVELS
        },
        "seconds": round(sum(report.seconds for report in state.history)),
        "threads": config.threads,
        "parameters": sum(value.numel() for value in network.parameters()),
        "torch": torch.__version__,
        **versions(config.device),
    }


def command_line(config: DiffusionConfig) -> str:
    """Return the command that repeats the run, with folders by name."""
    words = ["scoreguard-export train diffusion"]
    words += [f"--photos {folder.name}" for folder in config.photos]
    words += [] if config.bundled else ["--no-bundled"]
    words += [f"--exclude {name}" for name in config.exclude] + [f"--holdout {name}" for name in config.holdout]
    words += [f"--seed {config.seed} --steps {config.steps} --batch {config.batch} --crop {config.crop}"]
    words += [f"--stop-at {config.stop_at}"] if config.stop_at else []
    words += [f"--wind-down {config.wind_down}"] if config.wind_down else []
    words += [f"--learning-rate {config.learning_rate} --averaging {config.averaging}"]
    words += [f"--{'bfloat16' if config.bfloat16 else 'float32'} --threads {config.threads}"]
    words += [] if config.device.is_cpu else [f"--device {config.device.name}"]
    return " ".join(words)
