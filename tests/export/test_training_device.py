"""Training on another device: model, batches and optimiser are there, files are not; a run may change its device."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from photographs import crop
from PIL import Image
from safetensors.torch import load_file
from second_device import SECOND_DEVICE, second_device

from scoreguard.chain.devices import THE_CPU, Device, find_device
from scoreguard.v1.errors import DeviceError
from scoreguard_export.commands.train import command
from scoreguard_export.errors import TrainingError
from scoreguard_export.training.config import TrainingConfig
from scoreguard_export.training.denoising import compare
from scoreguard_export.training.diffusion import DiffusionConfig, train_diffusion
from scoreguard_export.training.fcn_filter import FilterConfig, train_filter
from scoreguard_export.training.lite import train_lite
from scoreguard_export.training.placement import computing

CLOSE = 4e-3
"""Largest difference of a weight after a few steps: devices round differently, and Adam magnifies small gradients."""
AVERAGES = ("running_mean", "running_var")
"""What the second device does not keep: the averages of batch norm stay as they were."""
Config = TypeVar("Config", TrainingConfig, DiffusionConfig, FilterConfig)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`clean` and `attacked`: five pieces of photographs, and the same with a tint."""
    folder = tmp_path_factory.mktemp("images")
    for kind, tint in (("clean", 0), ("attacked", 12)):
        (folder / kind).mkdir()
        for index in range(5):
            pixels = np.clip(crop(index, 40 * index, 30 * index, 24, 32) + tint, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / kind / f"p{index}.png")
    return folder


def device() -> Device:
    """The second device."""
    second_device()
    return find_device(SECOND_DEVICE)


def filter_config(images: Path, folder: Path) -> FilterConfig:
    """Two epochs of the filter."""
    clean, attacked = images / "clean", images / "attacked"
    return FilterConfig(attacked=attacked, clean=clean, out=folder / "w.safetensors", work=folder, epochs=2)


def diffusion_config(images: Path, folder: Path) -> DiffusionConfig:
    """Four steps of the denoiser."""
    return DiffusionConfig(
        photos=(images / "clean",),
        bundled=False,
        holdout=("p4",),
        out=folder / "w.safetensors",
        work=folder,
        steps=4,
        batch=2,
        crop=16,
        save_every=2,
        bfloat16=False,
    )


def lite_config(folder: Path) -> TrainingConfig:
    """Two epochs of the metric."""
    return TrainingConfig(
        holdout=("chelsea",),
        out=folder / "w.safetensors",
        work=folder,
        epochs=2,
        crops=16,
        validation_crops=4,
        crop_size=64,
        batch=8,
    )


def assert_trains_there_and_on(config: Config, train: Callable[..., Path], stop_at: str) -> None:
    """A run on the second device gives the CPU's weights nearly; one that moves to the CPU half-way does too."""
    work = config.work

    def in_folder(name: str, where: Device) -> Config:
        (work / name).mkdir(exist_ok=True)
        return replace(config, out=work / name / "w.safetensors", work=work / name, device=where)

    def stop(line: str) -> None:
        if line.startswith(stop_at):
            raise KeyboardInterrupt

    here = load_file(train(in_folder("here", THE_CPU)))
    there = load_file(train(in_folder("there", device())))
    with pytest.raises(KeyboardInterrupt):
        train(in_folder("both", device()), progress=stop)
    checkpoint = torch.load(work / "both" / "checkpoint.pt", weights_only=True)
    assert {value.device.type for value in checkpoint["optimiser"]["state"][0].values()} == {"cpu"}
    both = load_file(train(in_folder("both", THE_CPU)))
    for found in (there, both):
        weights = {name: value for name, value in here.items() if not name.endswith(AVERAGES)}
        assert all(float((found[name] - value).abs().max()) < CLOSE for name, value in weights.items())
    records = [json.loads((work / name / "w.json").read_text()) for name in ("here", "there")]
    assert [record.get("device") for record in records] == [None, SECOND_DEVICE]
    assert [f"--device {SECOND_DEVICE}" in record["command"] for record in records] == [False, True]
    assert records[0]["config_sha256"] == records[1]["config_sha256"]


def test_the_filter_trains_on_another_device(images: Path, tmp_path: Path) -> None:
    """And goes on on the CPU."""
    assert_trains_there_and_on(filter_config(images, tmp_path), train_filter, "epoch 1/")


@pytest.mark.slow
def test_the_denoiser_trains_on_another_device(images: Path, tmp_path: Path) -> None:
    """And goes on on the CPU."""
    assert_trains_there_and_on(diffusion_config(images, tmp_path), train_diffusion, "step 2/")


@pytest.mark.slow
def test_the_metric_trains_on_another_device(tmp_path: Path) -> None:
    """And goes on on the CPU."""
    assert_trains_there_and_on(lite_config(tmp_path), train_lite, "epoch 1/")


def test_denoisers_are_compared_on_another_device() -> None:
    """The same noise, the same decibels."""
    photos = {"a": crop(0, 0, 0, 24, 24)}
    here, there = (list(compare(None, None, photos, device=where)) for where in (THE_CPU, device()))
    assert [row.psnr for row in there] == pytest.approx([row.psnr for row in here], abs=1e-3)


def test_training_computes_repeatably() -> None:
    """The settings hold within the block alone."""
    with computing(device()):
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


def test_memory_that_does_not_suffice_is_one_line() -> None:
    """With what to do about it."""
    message = r"^a batch needs more memory than lazy:0 has left: use a smaller --batch$"
    with pytest.raises(TrainingError, match=message), computing(device()):
        raise torch.OutOfMemoryError("CUDA out of memory.\nmore")


@pytest.mark.parametrize("name", ["lite", "fcn-filter", "diffusion", "denoising"])
def test_a_device_that_is_not_there_is_one_line(name: str, images: Path) -> None:
    """Before anything is trained."""
    needed = {"fcn-filter": ["--attacked", str(images / "attacked")], "denoising": ["--photos", str(images / "clean")]}
    result = CliRunner().invoke(command, [name, *needed.get(name, []), "--device", "cuda:99"])
    assert isinstance(result.exception, DeviceError)
    assert str(result.exception).startswith("device 'cuda:99': ")
