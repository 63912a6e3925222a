"""The training of the FCN filter: pairs of images, the study's recipe, and a run that survives being killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from photographs import crop, to_batch
from PIL import Image
from safetensors.torch import load_file

from scoreguard.support.piq import import_piq
from scoreguard_export.commands.train import command
from scoreguard_export.defences.fcn_filter import FcnFilter
from scoreguard_export.errors import TrainingError
from scoreguard_export.training import fcn_filter
from scoreguard_export.training.fcn_filter import (
    FilterConfig,
    batches,
    new_state,
    resume,
    save_state,
    split_pairs,
    train_filter,
    validation_ssim,
)
from scoreguard_export.training.filter_pairs import read_pairs

ROOTS = [str(Path(__file__).resolve().parents[2] / folder) for folder in ("proto", "export")]

RUN = """
import sys
from pathlib import Path
from scoreguard_export.training.fcn_filter import FilterConfig, train_filter
images, folder = Path(sys.argv[1]), Path(sys.argv[2])
config = FilterConfig(
    attacked=images / "attacked", clean=images / "clean", out=folder / "w.safetensors", work=folder, epochs=6
)
train_filter(config, progress=lambda line: print(line, flush=True))
"""


def _save(image: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`clean` and `attacked`: ten pieces of photographs of two sizes, and the same with a tint."""
    folder = tmp_path_factory.mktemp("images")
    tint = np.array([20, -10, 15])
    for index in range(10):
        clean = crop(index, 40 * index, 30 * index, 24, 32 if index % 3 else 28)
        _save(clean, folder / "clean" / f"p{index}.png")
        _save(np.clip(clean + tint, 0, 255).astype(np.uint8), folder / "attacked" / f"p{index}.png")
    return folder


def _config(images: Path, folder: Path) -> FilterConfig:
    return FilterConfig(
        attacked=images / "attacked", clean=images / "clean", out=folder / "w.safetensors", work=folder, epochs=6
    )


@pytest.fixture(scope="module")
def trained(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one small run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("trained")
    train_filter(_config(images, folder))
    return folder


def _start(images: Path, folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(ROOTS)}
    arguments = [sys.executable, "-c", RUN, str(images), str(folder)]
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_weights(images: Path, trained: Path, tmp_path: Path) -> None:
    """`kill -9` after the second epoch, then the same command: it goes on, and ends where an unbroken run ends."""
    with _start(images, tmp_path) as first:
        assert first.stdout is not None
        assert any(line.startswith("epoch 2/6") for line in first.stdout)
        first.send_signal(signal.SIGKILL)
    assert not (tmp_path / "w.safetensors").exists()
    with _start(images, tmp_path) as second:
        lines, errors = second.communicate(timeout=240)
    assert "epoch 2/6" not in lines, errors
    assert "epoch 6/6" in lines, errors
    unbroken, continued = load_file(trained / "w.safetensors"), load_file(tmp_path / "w.safetensors")
    assert all(torch.equal(value, continued[name]) for name, value in unbroken.items())


def test_a_stopped_run_continues_to_the_same_weights(images: Path, trained: Path, tmp_path: Path) -> None:
    """The state that a checkpoint keeps is all of it."""

    def stop(line: str) -> None:
        if line.startswith("epoch 3/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_filter(_config(images, tmp_path), progress=stop)
    train_filter(_config(images, tmp_path))
    assert (tmp_path / "w.safetensors").read_bytes() == (trained / "w.safetensors").read_bytes()


def test_a_run_learns_and_keeps_the_epoch_of_the_best_ssim(images: Path, trained: Path) -> None:
    """The loss falls, and the file holds the weights that validated best, not the last."""
    content = torch.load(trained / "checkpoint.pt", weights_only=True)
    losses = [report["loss"] for report in content["history"]]
    assert losses[-1] < losses[0]
    best = max(report["validation_ssim"] for report in content["history"])
    config = _config(images, trained)
    _, validation = split_pairs(read_pairs(config.attacked, config.clean), config)
    network = new_state(config).network
    network.load_state_dict(load_file(trained / "w.safetensors"))
    assert validation_ssim(network, validation) == pytest.approx(best, abs=1e-6)
    FcnFilter.from_weights({"fcn-filter": trained / "w.safetensors"})


def test_an_epoch_that_validates_worse_is_not_kept(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the second epoch validates best, its weights are written: those of a run of two epochs."""
    for epochs in (4, 2):
        values = iter([0.1, 0.9, 0.3, 0.9])
        monkeypatch.setattr(fcn_filter, "validation_ssim", lambda network, pairs, values=values: next(values))
        train_filter(replace(_config(images, tmp_path / str(epochs)), epochs=epochs))
    long, short = (tmp_path / epochs / "w.safetensors" for epochs in ("4", "2"))
    assert json.loads((tmp_path / "4" / "w.json").read_text())["best_epoch"] == 2
    assert long.read_bytes() == short.read_bytes()


def test_the_validation_is_the_ssim_of_windows_of_eleven(images: Path) -> None:
    """A network that gives a grey image gets what piq says of grey."""

    class Grey(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.full_like(image, 0.5)

    pair = read_pairs(images / "attacked", images / "clean")[:1]
    clean = to_batch(pair[0].clean)
    expected = import_piq().ssim(torch.full_like(clean, 0.5), clean, kernel_size=11, kernel_sigma=1.5, downsample=False)
    assert validation_ssim(Grey(), pair) == pytest.approx(float(expected), abs=1e-6)  # type: ignore[arg-type]


def test_the_record_says_how_the_weights_came_to_be(images: Path, trained: Path) -> None:
    """Beside the weights: the command, the images held out, the recipe, and no folder of this machine."""
    text = (trained / "w.json").read_text()
    record = json.loads(text)
    assert (record["training_images"], len(record["held_out"]), record["parameters"]) == (8, 2, 11_459)
    assert record["command"].startswith("scoreguard-export train fcn-filter --attacked attacked --clean clean")
    assert (record["learning_rate"], record["batch"], record["epochs"]) == (1e-3, 4, 6)
    assert 0.0 < record["validation_ssim_unfiltered"] < 1.0
    assert str(images) not in text
    assert str(trained) not in text


def test_the_defaults_are_the_studys_recipe(tmp_path: Path) -> None:
    """200 epochs of batches of 4 at 1e-3, a fifth held out, Adam."""
    config = FilterConfig(attacked=tmp_path, out=tmp_path, work=tmp_path)
    assert (config.epochs, config.batch, config.learning_rate, config.validation_share) == (200, 4, 1e-3, 0.2)
    assert isinstance(new_state(config).optimiser, torch.optim.Adam)


def test_batches_hold_every_pair_once_and_images_of_one_size(images: Path, tmp_path: Path) -> None:
    """Images of other sizes wait for their like; the order changes from epoch to epoch and follows from the seed."""
    config, pairs = _config(images, tmp_path), read_pairs(images / "attacked", images / "clean")
    made = list(batches(pairs, config, 0))
    assert sorted(len(clean) for _, clean in made) == [2, 4, 4]
    first = torch.cat([clean.mean(dim=(1, 2, 3)) for _, clean in made])
    again = torch.cat([clean.mean(dim=(1, 2, 3)) for _, clean in batches(pairs, config, 0)])
    other = torch.cat([clean.mean(dim=(1, 2, 3)) for _, clean in batches(pairs, config, 1)])
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(first.sort().values, other.sort().values)


def test_images_are_paired_by_name(images: Path) -> None:
    """Each attacked image stands beside its own original."""
    pairs = read_pairs(images / "attacked", images / "clean")
    assert [pair.name for pair in pairs] == [f"p{index}" for index in range(10)]
    assert all(10 < np.abs(pair.attacked.astype(int) - pair.clean).mean() < 20 for pair in pairs)


def test_a_campaign_gives_its_attacked_images(tmp_path: Path) -> None:
    """Of a run, only what the attack makes of undefended images is taken: nothing purified, no other attack."""
    folder = tmp_path / "images" / "a-png-01234567"
    shades = {
        "clean": 10,
        "advcf-11111111__none-22222222": 20,
        "advcf-11111111__blur-33333333": 30,
        "advcf-11111111__none-22222222__blur-33333333": 40,
        "ifgsm-44444444__none-22222222": 50,
    }
    for name, shade in shades.items():
        _save(np.full((12, 12, 3), shade, np.uint8), folder / f"{name}.png")
    (pair,) = read_pairs(tmp_path, None)
    assert (pair.name, pair.clean[0, 0, 0], pair.attacked[0, 0, 0]) == ("a-png-01234567", 10, 20)
    (pair,) = read_pairs(tmp_path, None, "ifgsm")
    assert pair.attacked[0, 0, 0] == 50


def test_an_original_is_in_one_of_the_two_sets_only(images: Path, tmp_path: Path) -> None:
    """Two attacked versions of an image are not torn apart."""
    pairs = read_pairs(images / "attacked", images / "clean")
    training, validation = split_pairs(pairs + pairs, _config(images, tmp_path))
    assert (len(training), len(validation)) == (16, 4)
    assert {pair.name for pair in training}.isdisjoint(pair.name for pair in validation)


def test_images_that_cannot_be_paired_are_named(images: Path, tmp_path: Path) -> None:
    """Slips in folders are found before any work."""
    with pytest.raises(TrainingError, match="no folder of photographs"):
        read_pairs(tmp_path / "absent", images / "clean")
    with pytest.raises(TrainingError, match="name the originals by --clean"):
        read_pairs(images / "attacked", None)
    _save(np.zeros((12, 12, 3), np.uint8), tmp_path / "one" / "p0.png")
    with pytest.raises(TrainingError, match="p0 differs in size"):
        read_pairs(tmp_path / "one", images / "clean")
    _save(np.zeros((12, 12, 3), np.uint8), tmp_path / "two" / "other.png")
    with pytest.raises(TrainingError, match="no attacked image"):
        read_pairs(tmp_path / "two", images / "clean")
    single = read_pairs(tmp_path / "one", tmp_path / "one")
    with pytest.raises(TrainingError, match="too few"):
        split_pairs(single, _config(images, tmp_path))


def test_a_checkpoint_of_other_images_is_refused(images: Path, tmp_path: Path) -> None:
    """Going on with other images, or another seed, would mix two runs."""
    config, pairs = _config(images, tmp_path), read_pairs(images / "attacked", images / "clean")
    digest = config.digest(pairs)
    save_state(new_state(config), config, digest)
    assert resume(config, digest).history == []
    assert digest not in {config.digest(pairs[1:]), replace(config, seed=1).digest(pairs)}
    assert digest == replace(config, threads=2, out=tmp_path / "other").digest(pairs)
    with pytest.raises(TrainingError, match="belongs to another configuration"):
        resume(config, config.digest(pairs[1:]))
    config.checkpoint_path.write_bytes(b"no checkpoint")
    with pytest.raises(TrainingError, match=r"checkpoint\.pt is not a checkpoint"):
        resume(config, digest)


@pytest.mark.parametrize("change", [{"epochs": 0}, {"batch": 0}, {"validation_share": 0.0}, {"validation_share": 1.0}])
def test_impossible_configurations_are_refused(images: Path, tmp_path: Path, change: dict[str, float]) -> None:
    """Numbers out of range never reach the loop."""
    with pytest.raises(TrainingError):
        replace(_config(images, tmp_path), **change)  # type: ignore[arg-type]


def test_the_command_trains(images: Path, tmp_path: Path) -> None:
    """From the shell: the weights' path on standard output, a line an epoch beside it."""
    arguments = ["fcn-filter", "--attacked", images / "attacked", "--clean", images / "clean", "--epochs", "1"]
    arguments += ["--out", tmp_path / "w.safetensors", "--work", tmp_path]
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stdout == f"{tmp_path / 'w.safetensors'}\n"
    assert "epoch 1/1" in result.stderr
