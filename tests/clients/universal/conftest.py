"""Folders of images, recipes, and trainings that run in a moment."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest

from scoreguard_client.oracles.base import GradientOracle
from scoreguard_client.perturbations.artifact import UniversalPerturbation
from scoreguard_client.perturbations.recipe import Recipe
from scoreguard_client.target.images import find_images
from scoreguard_client.universal.crops import TrainingImages
from scoreguard_client.universal.teacher import oracle_teacher
from scoreguard_client.universal.training import Training

SIZE = 8
COUNT = 5
Train = Callable[..., UniversalPerturbation]


def recipe(**changes: Any) -> Recipe:
    """Five images, two epochs, batches of two, 8 x 8."""
    values: dict[str, Any] = {
        "kind": "optimized",
        "mode": "paper",
        "direction": "up",
        "metric": "toy",
        "source": "oracle",
        "chain": "none",
        "draws": 1,
        "images": COUNT,
        "images_sha256": hashlib.sha256(b"toy").hexdigest(),
        "epochs": 2,
        "batch": 2,
        "size": SIZE,
        "bound": 0.1,
        "rate": 0.01,
        "channels": 2,
        "seed": 0,
    }
    return Recipe(**(values | changes))


def write_images(folder: Path, images: list[npt.NDArray[np.uint8]]) -> Path:
    """Save images as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        PIL.Image.fromarray(image).save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five images, 8 x 8, with values at both ends of the range."""
    levels = np.random.default_rng(0).integers(0, 256, (COUNT, SIZE, SIZE, 3), dtype=np.uint8)
    levels[:, 0], levels[:, 1] = 0, 255
    return write_images(tmp_path / "photos", list(levels))


@pytest.fixture
def grey_photos(tmp_path: Path) -> Path:
    """Five images, 8 x 8, far from both ends of the range."""
    levels = np.random.default_rng(0).integers(100, 150, (COUNT, SIZE, SIZE, 3), dtype=np.uint8)
    return write_images(tmp_path / "grey", list(levels))


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """A function that trains by an oracle on a folder; `told` is called after every step."""

    def run(
        oracle: GradientOracle,
        folder: Path,
        out: Path | None = None,
        told: Callable[[int, str], None] = lambda steps, what: None,
        every: int = 1,
        **changes: Any,
    ) -> UniversalPerturbation:
        images = TrainingImages(folder=folder, references=find_images(folder).images)
        training = Training(
            recipe=recipe(images=len(images.references), **changes),
            images=images,
            teacher=oracle_teacher(oracle),
            out=out or tmp_path / "uap.safetensors",
            checkpoint_every=every,
        )
        return training.run(told)

    return run
