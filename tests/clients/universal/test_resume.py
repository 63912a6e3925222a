"""A training that is stopped, or killed, ends with the bytes of one that never was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from google.protobuf import json_format
from tests.clients.attacks.conftest import TorchOracle
from tests.clients.oracles.toy_archive import write_archive
from tests.clients.universal.conftest import SIZE, Train, recipe, write_images
from torch import Tensor

from scoreguard.support.digests import sha256_of
from scoreguard.v1 import archive
from scoreguard.v1.manifest_pb2 import ArchiveManifest, FileEntry, GraphFiles, MetricArtifact, MetricFacts
from scoreguard_client.perturbations.errors import CheckpointError
from scoreguard_client.universal.teacher import local_teacher

PROGRAM = "import sys; from scoreguard_client.cli import main; sys.exit(main())"
KILLS = 2
KINDS = ["cumulative", "optimized", "generative"]
READINGS = [(kind, mode) for kind in KINDS for mode in ("paper", "benchmark")] + [("momentum", "paper")]


class StopError(Exception):
    """The training is stopped here."""


def energy(images: Tensor) -> Tensor:
    """A smooth score."""
    return (torch.sin(5 * images) ** 2).mean(dim=(1, 2, 3))


def stop_after(steps: int) -> Any:
    """A listener that stops a training."""
    seen = {"steps": 0}

    def told(done: int, what: str) -> None:
        del what
        seen["steps"] += done
        if seen["steps"] >= steps:
            raise StopError

    return told


@pytest.mark.parametrize(("kind", "mode"), READINGS)
@pytest.mark.parametrize(("every", "stops"), [(1, (1, 3)), (2, (3,)), (4, (3, 5)), (100, (4,))])
def test_a_stopped_training_ends_with_the_same_bytes(
    kind: str, mode: str, every: int, stops: tuple[int, ...], train: Train, photos: Path, tmp_path: Path
) -> None:
    """Wherever it is stopped, before or after a checkpoint; once done, the checkpoint is gone."""
    oracle, whole, stopped = TorchOracle(function=energy), tmp_path / "whole.safetensors", tmp_path / "st.safetensors"
    changes: dict[str, Any] = {"kind": kind, "mode": mode, "size": 64 if kind == "generative" else SIZE}
    train(oracle, photos, whole, **changes)
    for steps in stops:
        with pytest.raises(StopError):
            train(oracle, photos, stopped, told=stop_after(steps), every=every, **changes)
        assert not stopped.exists()
    train(oracle, photos, stopped, every=every, **changes)
    assert stopped.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "st.safetensors", "whole.safetensors"]


def test_a_resumed_training_does_not_repeat_what_is_done(train: Train, photos: Path) -> None:
    """Of six steps, four were kept: two are left."""
    asked: list[int] = []

    def counted(images: Tensor) -> Tensor:
        asked.append(len(images))
        return energy(images)

    oracle = TorchOracle(function=counted)
    with pytest.raises(StopError):
        train(oracle, photos, every=2, told=stop_after(5))
    asked.clear()
    train(oracle, photos, every=2)
    assert len(asked) == 2
    asked.clear()
    train(oracle, photos, every=2)
    assert asked == []


def test_files_of_another_training_are_left_alone(train: Train, photos: Path, tmp_path: Path) -> None:
    """One line that names what differs, for a checkpoint and for a finished perturbation."""
    oracle, out = TorchOracle(function=energy), tmp_path / "u.safetensors"
    with pytest.raises(StopError):
        train(oracle, photos, out, told=stop_after(2))
    with pytest.raises(CheckpointError, match=r"seed: 0 there, 5 here.*--out"):
        train(oracle, photos, out, seed=5)
    train(oracle, photos, out)
    before = out.read_bytes()
    with pytest.raises(CheckpointError, match=r"bound: 0\.1 there, 0\.2 here.*--out"):
        train(oracle, photos, out, bound=0.2)
    assert out.read_bytes() == before


@pytest.mark.parametrize("damage", [b"", b"nothing", None])
def test_a_damaged_checkpoint_gives_one_line(damage: bytes | None, train: Train, photos: Path, tmp_path: Path) -> None:
    """It says to delete the file; cut ones and those without the state are refused as well."""
    oracle, out = TorchOracle(function=energy), tmp_path / "u.safetensors"
    with pytest.raises(StopError):
        train(oracle, photos, out, told=stop_after(2))
    checkpoint = tmp_path / "u.safetensors.training"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-5] if damage is None else damage)
    with pytest.raises(CheckpointError, match="delete it to start afresh"):
        train(oracle, photos, out)


def test_a_file_in_the_way_is_not_overwritten(train: Train, photos: Path, tmp_path: Path) -> None:
    """Whatever it is."""
    out = tmp_path / "u.safetensors"
    out.write_bytes(b"my thesis")
    with pytest.raises(CheckpointError, match="choose another --out"):
        train(TorchOracle(function=energy), photos, out)
    assert out.read_bytes() == b"my thesis"


class Network(torch.nn.Module):
    """A small network whose graph torch rewrites after its first run."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Conv2d(3, 16, 3, stride=2)
        self.second = torch.nn.Conv2d(16, 8, 3)

    def forward(self, image: Tensor) -> Tensor:
        """Score."""
        features = torch.nn.functional.silu(self.first(2 * image - 1))
        features = torch.nn.functional.silu(self.second(features))
        return 100 * torch.sigmoid(3 * features.mean(dim=[1, 2, 3]) + features.std(dim=[1, 2, 3]))


def write_network(folder: Path) -> archive.Archive:
    """An archive of the network."""
    folder.mkdir()
    torch.jit.save(torch.jit.script(Network().eval()), str(folder / "metric.pt"))
    data = (folder / "metric.pt").read_bytes()
    manifest = ArchiveManifest(
        format=archive.FORMAT,
        metric=MetricArtifact(
            facts=MetricFacts(name="network", range_high=100, higher_is_better=True, minimum_size=1),
            graphs=GraphFiles(torchscript="metric.pt"),
        ),
        files=[FileEntry(path="metric.pt", sha256=sha256_of(data), size_bytes=len(data))],
    )
    (folder / archive.MANIFEST_NAME).write_text(json_format.MessageToJson(manifest))
    return archive.Archive(folder)


def test_a_local_teacher_gives_the_same_bits_on_every_call(tmp_path: Path) -> None:
    """Scores and gradients; and the draws of a random chain follow from the seed alone, not from earlier calls."""
    images = np.random.default_rng(0).random((3, 3, 40, 40), dtype=np.float32)
    others = np.random.default_rng(1).random((2, 3, 30, 40), dtype=np.float32)
    network = local_teacher(write_network(tmp_path / "network"))
    noisy = local_teacher(write_archive(tmp_path / "energy"), "noise", draws=2)
    for teacher in (network, noisy):
        first = teacher.ask(images, 7)
        for _ in range(4):
            teacher.ask(others, 1)
            again = teacher.ask(images, 7)
            np.testing.assert_array_equal(again[0], first[0])
            np.testing.assert_array_equal(again[1], first[1])
    assert not np.array_equal(noisy.ask(images, 8)[1], noisy.ask(images, 7)[1])


def start(store: Path, photos: Path, out: Path) -> subprocess.Popen[bytes]:
    """A training as a user starts it, through a random defence."""
    arguments = [
        "uap",
        "train",
        "--kind",
        "generative",
        "--metric",
        "energy",
        "--surrogate",
        str(store),
        "--chain",
        "noise",
    ]
    arguments += ["--images", str(photos), "--out", str(out), "--batch", "2", "--checkpoint-every", "1"]
    arguments += ["--size", "32", "--channels", "4", "--epochs", "100", "--seed", "3"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for a training that must succeed."""
    output, _ = process.communicate(timeout=600)  # Other work may share the cores.
    assert process.returncode == 0, output.decode()


def written(checkpoint: Path) -> int:
    """When a checkpoint was written; 0 = there is none."""
    try:
        return checkpoint.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def kill_in_the_middle(process: subprocess.Popen[bytes], checkpoint: Path) -> bool:
    """`kill -9` a moment after a new checkpoint; whether it was still running."""
    before, deadline = written(checkpoint), time.monotonic() + 60
    while written(checkpoint) == before and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.03)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_a_training_that_is_killed_again_and_again_ends_with_the_same_file(tmp_path: Path) -> None:
    """The command itself, killed by the operating system; the generator has the most state to lose."""
    levels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    photos, store = write_images(tmp_path / "photos", list(levels)), tmp_path / "energy"
    write_archive(store)
    whole, killed = tmp_path / "whole.safetensors", tmp_path / "killed.safetensors"
    checkpoint, kills = tmp_path / "killed.safetensors.training", 0
    finish(start(store, photos, whole))
    for _ in range(KILLS):
        kills += kill_in_the_middle(start(store, photos, killed), checkpoint)
        assert checkpoint.exists()
        assert not killed.exists()
    assert kills == KILLS
    finish(start(store, photos, killed))
    assert killed.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("killed.safetensors.*"))


def test_steps_and_epochs_follow_from_the_recipe() -> None:
    """Five images in batches of two are three steps an epoch."""
    assert (recipe().steps_per_epoch, recipe().steps, recipe(batch=8).steps) == (3, 6, 2)
