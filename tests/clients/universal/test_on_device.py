"""Trainings on a second device: the host's perturbation, few copies to the host, and a record of the device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from copies_home import CopiesHome
from second_device import SECOND_DEVICE, second_device
from tests.clients.oracles.toy_archive import write_archive
from tests.clients.universal.conftest import recipe
from tests.clients.universal.test_resume import StopError, stop_after

from scoreguard.v1.archive import Archive
from scoreguard_client.attacks.errors import OracleAnswerError
from scoreguard_client.oracles.computing import ON_CPU, Computation, Computing
from scoreguard_client.perturbations.artifact import UniversalPerturbation, load_perturbation
from scoreguard_client.perturbations.errors import CheckpointError
from scoreguard_client.target.images import find_images
from scoreguard_client.universal.crops import TrainingImages
from scoreguard_client.universal.teacher import local_teacher
from scoreguard_client.universal.training import LOOK_EVERY, Training

KINDS = ["cumulative", "optimized", "generative", "momentum"]
READINGS = [(kind, mode) for kind in KINDS[:3] for mode in ("paper", "benchmark")] + [("momentum", "paper")]
TrainThere = Callable[..., UniversalPerturbation]


class Wave(torch.nn.Module):
    """A score that rises along a fixed direction and bends."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Score."""
        return 50 + 40 * torch.sin(4 * image).mean(dim=[1, 2, 3])


class Broken(torch.nn.Module):
    """A score whose derivative is nowhere finite."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Score."""
        return torch.sqrt(image - image).mean(dim=[1, 2, 3])


@pytest.fixture
def lazy() -> Computation:
    """The second device."""
    second_device()
    return Computing(device=SECOND_DEVICE).found()


@pytest.fixture
def train_by(photos: Path, tmp_path: Path) -> TrainThere:
    """A function that trains by the wave, or by another metric, on a device."""
    archives: dict[str, Archive] = {}

    def run(
        computation: Computation,
        out: str,
        told: Callable[[int, str], None] = lambda steps, what: None,
        metric: torch.nn.Module | None = None,
        every: int = 100,
        **changes: Any,
    ) -> UniversalPerturbation:
        metric = metric or Wave()
        name = type(metric).__name__
        archive = archives[name] = archives.get(name) or write_archive(tmp_path / name, metric)
        training = Training(
            recipe=recipe(computation=str(computation), **changes),
            images=TrainingImages(folder=photos, references=find_images(photos).images),
            teacher=local_teacher(archive, computation=computation),
            out=tmp_path / out,
            checkpoint_every=every,
        )
        return training.run(told)

    return run


@pytest.mark.parametrize(("kind", "mode"), READINGS)
def test_a_training_ends_on_the_device_where_it_ends_on_the_host(
    kind: str, mode: str, train_by: TrainThere, lazy: Computation
) -> None:
    """Single values may differ where a mean of signs or a gradient is near 0."""
    here = train_by(ON_CPU, "here.safetensors", kind=kind, mode=mode)
    there = train_by(lazy, "there.safetensors", kind=kind, mode=mode)
    assert there.values.dtype == np.float32
    assert np.abs(here.values).max() > 5e-4
    assert (np.abs(there.values - here.values) > 1e-4).mean() < 0.02


@pytest.mark.parametrize(("kind", "mode"), READINGS)
def test_a_training_on_a_device_resumes_to_the_same_bytes(
    kind: str, mode: str, train_by: TrainThere, lazy: Computation, tmp_path: Path
) -> None:
    """A checkpoint brings its whole state to the host, and back."""
    whole = train_by(lazy, "whole.safetensors", kind=kind, mode=mode)
    with pytest.raises(StopError):
        train_by(lazy, "part.safetensors", told=stop_after(3), every=1, kind=kind, mode=mode)
    assert (tmp_path / "part.safetensors.training").exists()
    assert train_by(lazy, "part.safetensors", every=1, kind=kind, mode=mode).sha256 == whole.sha256


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_copies_nothing_to_the_host(kind: str, train_by: TrainThere, lazy: Computation) -> None:
    """Between two looks at the answers any number of steps makes the same copies: those of the end."""
    few, many = (steps_copies(train_by, lazy, kind, steps) for steps in (2, 6))
    assert few == many > 0


def test_answers_are_looked_at_every_few_steps(train_by: TrainThere, lazy: Computation) -> None:
    """Each look copies the scores of one step, and which gradients were finite since the last."""
    few, many = (steps_copies(train_by, lazy, "cumulative", looks * LOOK_EVERY) for looks in (1, 3))
    assert many - few == 2 * 2


def steps_copies(train_by: TrainThere, lazy: Computation, kind: str, steps: int) -> int:
    """Count what a training copies to the host."""
    with CopiesHome() as copies:
        train_by(lazy, f"{kind}-{steps}.safetensors", kind=kind, epochs=steps, batch=5)
    counted: int = copies.count
    return counted


def test_the_file_says_where_it_was_trained(train_by: TrainThere, lazy: Computation, tmp_path: Path) -> None:
    """The recipe names what decides the values, the record everything else; the CPU's file has neither."""
    made = train_by(lazy, "there.safetensors")
    read = load_perturbation(tmp_path / "there.safetensors")
    assert read.computation == made.computation
    assert read.computation["device"] == SECOND_DEVICE
    assert read.recipe is not None
    assert read.recipe.computation == "lazy, deterministic, fp32, batch 16"
    assert read.facts()["computation"]["deterministic"] is True
    plain = train_by(ON_CPU, "here.safetensors")
    assert "computation" not in plain.facts()
    assert plain.recipe is not None
    assert "computation" not in plain.recipe.as_dict()


def test_a_training_is_not_resumed_on_another_device(train_by: TrainThere, lazy: Computation) -> None:
    """The message names both."""
    with pytest.raises(StopError):
        train_by(ON_CPU, "part.safetensors", told=stop_after(3), every=1)
    with pytest.raises(CheckpointError, match="computation: cpu there, lazy, deterministic, fp32, batch 16 here"):
        train_by(lazy, "part.safetensors", every=1)


def test_gradients_that_are_not_finite_end_a_training_before_it_writes(
    train_by: TrainThere, lazy: Computation, tmp_path: Path
) -> None:
    """They are found with the next look at the answers, which comes before every checkpoint."""
    with pytest.raises(OracleAnswerError, match="gradient is not finite for image 0, 1"):
        train_by(lazy, "broken.safetensors", metric=Broken(), every=1)
    assert not list(tmp_path.glob("broken*"))
