"""The loop that makes the shipped weights: seeded, resumable, honest about what it trained on."""

from __future__ import annotations

import io
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
from rich.console import Console
from safetensors.torch import load_file
from skimage import data

from scoreguard_export.errors import TrainingError
from scoreguard_export.metrics.lite import Lite
from scoreguard_export.training.config import TrainingConfig
from scoreguard_export.training.crops import make_crops
from scoreguard_export.training.lite import train_lite
from scoreguard_export.training.loop import learning_rate, new_state, resume, save_checkpoint, training_loss
from scoreguard_export.training.photos import load_photos

ROOTS = [str(Path(__file__).resolve().parents[2] / folder) for folder in ("proto", "export")]

RUN = """
import sys
from pathlib import Path
from scoreguard_export.training.config import TrainingConfig
from scoreguard_export.training.lite import train_lite
folder = Path(sys.argv[1])
config = TrainingConfig(
    holdout=("chelsea",), out=folder / "w.safetensors", work=folder / "work",
    epochs=4, crops=48, validation_crops=10, crop_size=64, batch=8,
)
train_lite(config, progress=lambda line: print(line, flush=True))
"""


def _config(folder: Path) -> TrainingConfig:
    """Small, on the photographs that scikit-image brings."""
    return TrainingConfig(
        holdout=("chelsea",),
        out=folder / "w.safetensors",
        work=folder / "work",
        epochs=4,
        crops=48,
        validation_crops=10,
        crop_size=64,
        batch=8,
    )


def _start(folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(ROOTS)}
    command = [sys.executable, "-c", RUN, str(folder)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one small run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("trained")
    train_lite(_config(folder))
    return folder


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_weights(trained: Path, tmp_path: Path) -> None:
    """`kill -9` after the first epoch, then the same command: it goes on, and ends where an unbroken run ends."""
    with _start(tmp_path) as first:
        assert first.stdout is not None
        assert any(line.startswith("epoch 1/4") for line in first.stdout)
        first.send_signal(signal.SIGKILL)
    assert first.returncode == -signal.SIGKILL
    assert not (tmp_path / "w.safetensors").exists()
    with _start(tmp_path) as second:
        lines, errors = second.communicate(timeout=240)
    assert "epoch 1/4" not in lines, errors
    assert "epoch 4/4" in lines, errors
    unbroken, continued = load_file(trained / "w.safetensors"), load_file(tmp_path / "w.safetensors")
    assert all(torch.equal(value, continued[name]) for name, value in unbroken.items())


def test_a_run_learns_and_writes_weights_that_load(trained: Path) -> None:
    """The loss falls, and the file makes a metric."""
    content = torch.load(trained / "work" / "checkpoint.pt", weights_only=True)
    losses = [report["loss"] for report in content["history"]]
    assert len(losses) == 4
    assert losses[-1] < losses[0]
    assert not Lite.from_weights({"lite": trained / "w.safetensors"}).training


def test_the_record_says_how_the_weights_came_to_be(trained: Path) -> None:
    """Beside the weights: the command, the counts, the photographs left out, and no folder of this machine."""
    text = (trained / "w.json").read_text()
    record = json.loads(text)
    assert record["crops"] == 48
    assert record["held_out"] == ["chelsea"]
    assert record["command"].startswith("scoreguard-export train lite")
    assert "--holdout chelsea" in record["command"]
    assert sum(record["kinds"].values()) == 48
    assert str(trained) not in text


def test_a_finished_run_has_nothing_left_to_do(trained: Path) -> None:
    """The same command again trains no further epoch and leaves the same weights."""
    before, lines = (trained / "w.safetensors").read_bytes(), list[str]()
    train_lite(_config(trained), progress=lines.append)
    assert not [line for line in lines if line.startswith("epoch")]
    assert (trained / "w.safetensors").read_bytes() == before


def test_no_bar_is_drawn_where_no_terminal_is(trained: Path) -> None:
    """Logs and pipes get no control characters."""
    stream = io.StringIO()
    train_lite(_config(trained), console=Console(file=stream))
    assert stream.getvalue() == ""


def test_a_checkpoint_of_another_configuration_is_refused(trained: Path) -> None:
    """Going on with another seed would mix two runs."""
    other = replace(_config(trained), seed=1, checkpoint=trained / "work" / "checkpoint.pt")
    with pytest.raises(TrainingError, match="belongs to another configuration"):
        resume(other)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 half a zip"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    """Cut or foreign files are named, not loaded."""
    config = _config(tmp_path)
    config.checkpoint_path.parent.mkdir(parents=True)
    config.checkpoint_path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"checkpoint\.pt is not a checkpoint"):
        resume(config)


def test_a_checkpoint_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """Nothing but the finished checkpoint is left in the folder."""
    config = _config(tmp_path)
    save_checkpoint(new_state(config), config)
    save_checkpoint(new_state(config), config)
    assert [path.name for path in config.work.iterdir()] == ["checkpoint.pt"]


@pytest.mark.slow
def test_crops_depend_on_the_seed_and_not_on_the_number_of_processes(tmp_path: Path) -> None:
    """Two processes make the crops that one makes; another seed makes others."""
    config = replace(_config(tmp_path), crops=60)
    photos = [np.asarray(data.coffee(), np.uint8)]  # type: ignore[no-untyped-call]
    one = make_crops(photos, config, 60, 0, lambda count: None)
    two = make_crops(photos, replace(config, workers=2), 60, 0, lambda count: None)
    other = make_crops(photos, replace(config, seed=1), 60, 0, lambda count: None)
    assert np.array_equal(one.images, two.images)
    assert np.array_equal(one.kinds, two.kinds)
    assert np.allclose(one.labels, two.labels, atol=1e-3)
    assert not np.array_equal(one.images, other.images)


def test_excluded_and_held_out_photographs_are_never_trained_on(tmp_path: Path) -> None:
    """An excluded name is in neither set, a held-out one in the validation set alone."""
    config = replace(_config(tmp_path), exclude=("rocket",))
    training, validation = load_photos(config)
    assert set(validation) == {"chelsea"}
    assert {"rocket", "chelsea"}.isdisjoint(training)
    assert {"astronaut", "coffee"} <= set(training)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"photos": (Path("no/such/folder"),)}, "no folder of photographs"),
        ({"holdout": ("chelsae",)}, "cannot hold out chelsae"),
        ({"holdout": ()}, "some to hold out"),
        ({"bundled": False, "holdout": ()}, "needs photographs"),
    ],
)
def test_photographs_that_cannot_be_had_are_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    """Slips in folders and names are found before any work."""
    with pytest.raises(TrainingError, match=message):
        load_photos(replace(_config(tmp_path), **change))  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"epochs": 0}, {"batch": 1}, {"crop_size": 32}, {"workers": 0}])
def test_impossible_configurations_are_refused(tmp_path: Path, change: dict[str, int]) -> None:
    """Numbers out of range never reach the loop."""
    with pytest.raises(TrainingError):
        replace(_config(tmp_path), **change)  # type: ignore[arg-type]


def test_the_digest_ignores_where_the_machine_keeps_things(tmp_path: Path) -> None:
    """Moving the folders or changing the number of processes is no other run; another seed is."""
    config = _config(tmp_path)
    moved = replace(config, out=tmp_path / "elsewhere" / "w.safetensors", work=tmp_path / "other", workers=3)
    assert config.digest() == moved.digest()
    assert config.digest() != replace(config, seed=1).digest()
    assert config.data_digest() == replace(config, epochs=9).data_digest()


def test_the_loss_prefers_the_right_order() -> None:
    """Equal distances from the labels cost more where the order is wrong."""
    labels = torch.tensor([30.0, 40.0])
    right, wrong = torch.tensor([25.0, 45.0]), torch.tensor([35.0, 35.0 - 1e-3])
    assert training_loss(labels, labels, 0.0) == 0.0
    assert training_loss(right, labels, 0.0) == pytest.approx(float(training_loss(wrong, labels, 0.0)), rel=1e-2)
    assert training_loss(right, labels, 0.3) < training_loss(wrong, labels, 0.3)


def test_the_learning_rate_warms_up_and_ends_at_zero(tmp_path: Path) -> None:
    """One peak at 5 % of the run, as high as configured."""
    config = _config(tmp_path)
    rates = [learning_rate(config, step / 100) for step in range(101)]
    assert max(rates) == rates[5] == pytest.approx(config.learning_rate)
    assert rates[:6] == sorted(rates[:6])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)
