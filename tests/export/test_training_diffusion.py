"""The training of the denoiser: what it draws, what it learns, and a run that survives being killed."""

from __future__ import annotations

import json
import math
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
from photographs import crop
from PIL import Image
from safetensors.torch import load_file

from scoreguard_export.commands.train import command
from scoreguard_export.defences.denoiser import Denoiser
from scoreguard_export.defences.denoiser_net import HIGHEST, LOWEST
from scoreguard_export.errors import TrainingError
from scoreguard_export.training.denoising import LEVELS, compare, mean_psnr, middle
from scoreguard_export.training.diffusion import (
    DiffusionConfig,
    draw_batch,
    learning_rate,
    load_photographs,
    new_state,
    resume,
    run_step,
    save_state,
    train_diffusion,
    training_loss,
)

ROOTS = [str(Path(__file__).resolve().parents[2] / folder) for folder in ("proto", "export")]

RUN = """
import sys
from pathlib import Path
from scoreguard_export.training.diffusion import DiffusionConfig, train_diffusion
photos, folder = Path(sys.argv[1]), Path(sys.argv[2])
config = DiffusionConfig(
    photos=(photos,), bundled=False, holdout=("p3",), out=folder / "w.safetensors", work=folder,
    steps=8, batch=2, crop=16, save_every=2, bfloat16=False,
)
train_diffusion(config, progress=lambda line: print(line, flush=True))
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four small pieces of photographs."""
    folder = tmp_path_factory.mktemp("photos")
    for index in range(4):
        Image.fromarray(crop(index, 100, 120, 40, 48)).save(folder / f"p{index}.png")
    return folder


def _config(photos: Path, folder: Path) -> DiffusionConfig:
    return DiffusionConfig(
        photos=(photos,),
        bundled=False,
        holdout=("p3",),
        out=folder / "w.safetensors",
        work=folder,
        steps=8,
        batch=2,
        crop=16,
        save_every=2,
        bfloat16=False,
    )


@pytest.fixture(scope="module")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one small run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("trained")
    train_diffusion(_config(photos, folder))
    return folder


def _start(photos: Path, folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(ROOTS)}
    arguments = [sys.executable, "-c", RUN, str(photos), str(folder)]
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_weights(photos: Path, trained: Path, tmp_path: Path) -> None:
    """`kill -9` after a checkpoint, then the same command: it goes on, and ends where an unbroken run ends."""
    with _start(photos, tmp_path) as first:
        assert first.stdout is not None
        assert any(line.startswith("step 4/8") for line in first.stdout)
        first.send_signal(signal.SIGKILL)
    assert not (tmp_path / "w.safetensors").exists()
    with _start(photos, tmp_path) as second:
        lines, errors = second.communicate(timeout=240)
    assert "step 4/8" not in lines, errors
    assert "step 8/8" in lines, errors
    unbroken, continued = load_file(trained / "w.safetensors"), load_file(tmp_path / "w.safetensors")
    assert all(torch.equal(value, continued[name]) for name, value in unbroken.items())


@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_stopped_run_continues_to_the_same_state(photos: Path, tmp_path: Path, bfloat16: bool) -> None:
    """The network, its average and the optimiser are kept to the last bit, in either precision."""

    def stop(line: str) -> None:
        if line.startswith("step 4/"):
            raise KeyboardInterrupt

    configs = [replace(_config(photos, tmp_path / name), bfloat16=bfloat16) for name in ("broken", "whole")]
    with pytest.raises(KeyboardInterrupt):
        train_diffusion(configs[0], progress=stop)
    for config in configs:
        train_diffusion(config)
    one, other = (torch.load(config.checkpoint_path, weights_only=True) for config in configs)
    for part in ("network", "averaged"):
        assert all(torch.equal(value, other[part][name]) for name, value in one[part].items())
    moments = one["optimiser"]["state"], other["optimiser"]["state"]
    assert all(torch.equal(moments[0][i]["exp_avg_sq"], moments[1][i]["exp_avg_sq"]) for i in moments[0])


def test_the_weights_do_not_depend_on_how_often_they_are_saved(photos: Path, trained: Path, tmp_path: Path) -> None:
    """Checkpoints are no part of the run."""
    train_diffusion(replace(_config(photos, tmp_path), save_every=100))
    assert (tmp_path / "w.safetensors").read_bytes() == (trained / "w.safetensors").read_bytes()


def test_a_run_may_end_before_its_schedule_and_go_on_later(photos: Path, trained: Path, tmp_path: Path) -> None:
    """The weights at the step to stop at are those that the whole run passes through."""
    config = _config(photos, tmp_path)
    train_diffusion(replace(config, stop_at=4))
    record = json.loads((tmp_path / "w.json").read_text())
    assert (record["steps"], record["steps_of_the_schedule"]) == (4, 8)
    assert "--stop-at 4" in record["command"]
    assert (tmp_path / "w.safetensors").read_bytes() != (trained / "w.safetensors").read_bytes()
    train_diffusion(config)
    assert (tmp_path / "w.safetensors").read_bytes() == (trained / "w.safetensors").read_bytes()


def test_a_run_that_winds_down_leaves_its_schedule_only_then(photos: Path, trained: Path, tmp_path: Path) -> None:
    """The rate falls in a straight line from where the schedule was; before that, nothing is another run's."""
    config = replace(_config(photos, tmp_path), steps=1000, stop_at=600, wind_down=200)
    rates = [learning_rate(config, step) for step in range(601)]
    whole = [learning_rate(replace(config, stop_at=0, wind_down=0), step) for step in range(601)]
    assert rates[:401] == whole[:401]
    assert rates[600] == 0.0
    assert np.diff(rates[400:], 2) == pytest.approx(0.0, abs=1e-15)
    short = replace(_config(photos, tmp_path), stop_at=6, wind_down=3)
    train_diffusion(replace(short, stop_at=2, wind_down=0))
    train_diffusion(short)
    with pytest.raises(TrainingError, match="winding down otherwise"):
        train_diffusion(_config(photos, tmp_path))


def test_a_run_learns(photos: Path, tmp_path: Path) -> None:
    """After a few dozen steps on one batch the noise is told far better than by saying that there is none."""
    config = replace(_config(photos, tmp_path), steps=60, learning_rate=2e-3, batch=4)
    training, _ = load_photographs(config)
    state, batch = new_state(config), draw_batch(list(training.values()), config, 1000)
    before = float(training_loss(state.network, *batch, False).detach())
    for _ in range(40):
        run_step(state, list(training.values()), config)
    assert float(training_loss(state.network, *batch, False).detach()) < 0.7 * before


def test_the_average_lags_behind_the_network(photos: Path, tmp_path: Path) -> None:
    """It is neither the first weights nor the last, and takes no gradient."""
    config = _config(photos, tmp_path)
    training, _ = load_photographs(config)
    state = new_state(config)
    first = state.network.tail.weight.detach().clone()
    for _ in range(3):
        run_step(state, list(training.values()), config)
    last, average = state.network.tail.weight.detach(), state.averaged.tail.weight
    assert 0.0 < float((average - first).norm()) < float((last - first).norm())
    assert not average.requires_grad


def test_noise_levels_are_drawn_evenly_on_a_logarithmic_scale(photos: Path, tmp_path: Path) -> None:
    """From the lowest to the highest, half of them below the geometric mean; a step repeats, another differs."""
    config = replace(_config(photos, tmp_path), batch=600)
    training, _ = load_photographs(config)
    clean, noise, sigma = draw_batch(list(training.values()), config, 5)
    assert LOWEST <= float(sigma.min()) < 1.1 * LOWEST
    assert 0.9 * HIGHEST < float(sigma.max()) <= HIGHEST
    assert float((sigma < math.sqrt(LOWEST * HIGHEST)).float().mean()) == pytest.approx(0.5, abs=0.06)
    assert float(noise.std()) == pytest.approx(1.0, abs=0.01)
    assert torch.equal(clean, draw_batch(list(training.values()), config, 5)[0])
    assert not torch.equal(clean, draw_batch(list(training.values()), config, 6)[0])


def test_crops_are_pieces_of_the_photographs_in_all_eight_symmetries(photos: Path, tmp_path: Path) -> None:
    """Every crop is found in the one photograph, turned or mirrored; every symmetry occurs."""
    config = replace(_config(photos, tmp_path), batch=64)
    photo = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    clean, _, _ = draw_batch([photo], config, 0)
    found = set[int]()
    for image in (clean * 255.0).round().permute(0, 2, 3, 1).numpy().astype(np.uint8):
        versions = [np.rot90(mirrored, turns) for mirrored in (image, image[:, ::-1]) for turns in range(4)]
        places = [(y, x) for y in range(9) for x in range(9)]
        which = [
            i for i, v in enumerate(versions) for y, x in places if np.array_equal(v, photo[y : y + 16, x : x + 16])
        ]
        assert len(which) == 1
        found.add(which[0])
    assert len(found) == 8


def test_photographs_held_out_or_excluded_are_never_learnt_from(photos: Path, tmp_path: Path) -> None:
    """A held-out name is in the validation set alone, an excluded one in neither."""
    training, validation = load_photographs(replace(_config(photos, tmp_path), exclude=("p0",)))
    assert set(training) == {"p1", "p2"}
    assert set(validation) == {"p3"}
    with pytest.raises(TrainingError, match="p0 is smaller than a crop of 48"):
        load_photographs(replace(_config(photos, tmp_path), crop=48))


def test_the_loss_is_the_weighted_error_of_the_noise(photos: Path, tmp_path: Path) -> None:
    """An untrained network that says `no noise` pays the mean of σ/σ_max · ε²."""
    config = _config(photos, tmp_path)
    network = new_state(config).network
    with torch.no_grad():
        network.tail.weight.zero_()
        network.tail.bias.zero_()  # type: ignore[union-attr]
    clean, noise, sigma = draw_batch([crop(0, 0, 0, 40, 40)], config, 0)
    expected = (noise.square().mean(dim=(1, 2, 3)) * sigma / HIGHEST).mean()
    assert float(training_loss(network, clean, noise, sigma, False).detach()) == pytest.approx(
        float(expected), rel=1e-5
    )


def test_the_learning_rate_warms_up_and_ends_at_zero(photos: Path, tmp_path: Path) -> None:
    """One peak, as high as configured."""
    config = replace(_config(photos, tmp_path), steps=20_000)
    rates = [learning_rate(config, step) for step in range(20_001)]
    assert rates.index(max(rates)) == pytest.approx(500, abs=2)
    assert max(rates) == pytest.approx(config.learning_rate, rel=0.01)
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)


def test_the_record_says_how_the_weights_came_to_be(photos: Path, trained: Path) -> None:
    """Beside the weights: the command, the photographs held out, the measured PSNR, and no folder of this machine."""
    text = (trained / "w.json").read_text()
    record = json.loads(text)
    assert (record["training_photographs"], record["held_out"], record["steps"]) == (3, ["p3"], 8)
    assert record["command"].startswith(f"scoreguard-export train diffusion --photos {photos.name} --no-bundled")
    assert set(record["psnr_of_held_out"]) == {"sigma 15", "sigma 25", "sigma 50"}
    assert record["precision"] == "float32"
    assert str(trained) not in text
    photo = np.asarray(Image.open(photos / "p3.png"))
    served = Denoiser.from_weights({"denoiser": trained / "w.safetensors"})
    psnr = mean_psnr(lambda noisy, level: served(noisy, torch.tensor(level)), [photo], 25.0)
    assert psnr == pytest.approx(record["psnr_of_held_out"]["sigma 25"], abs=0.002)


def test_a_finished_run_has_nothing_left_to_do(photos: Path, trained: Path) -> None:
    """The same command again takes no further step and leaves the same weights."""
    before, lines = (trained / "w.safetensors").read_bytes(), list[str]()
    train_diffusion(_config(photos, trained), progress=lines.append)
    assert not [line for line in lines if line.startswith("step")]
    assert (trained / "w.safetensors").read_bytes() == before


def test_a_checkpoint_of_another_configuration_is_refused(photos: Path, tmp_path: Path) -> None:
    """Going on with another seed or precision would mix two runs; other threads, folders or save points would not."""
    config = _config(photos, tmp_path)
    save_state(new_state(config), config)
    assert resume(config).step == 0
    for change in ({"seed": 1}, {"bfloat16": True}, {"holdout": ("p2",)}):
        with pytest.raises(TrainingError, match="belongs to another configuration"):
            resume(replace(config, **change))
    assert config.digest() == replace(config, threads=2, save_every=9, out=tmp_path / "other").digest()


@pytest.mark.parametrize("change", [{"steps": 0}, {"batch": 0}, {"crop": 20}, {"crop": 0}, {"averaging": 1.0}])
def test_impossible_configurations_are_refused(photos: Path, tmp_path: Path, change: dict[str, float]) -> None:
    """Numbers out of range never reach the loop."""
    with pytest.raises(TrainingError):
        replace(_config(photos, tmp_path), **change)  # type: ignore[arg-type]


def test_the_psnr_of_noisy_images_is_that_of_the_noise() -> None:
    """A denoiser that does nothing gets −20·log₁₀(σ), and the middle of an image is its middle."""
    grey = np.full((200, 200, 3), 128, np.uint8)
    assert mean_psnr(lambda noisy, level: noisy, [grey, grey], 25.0) == pytest.approx(20.172, abs=0.02)
    assert middle(np.arange(5 * 7 * 3).reshape(5, 7, 3).astype(np.uint8), 3).shape == (3, 3, 3)
    assert middle(grey[:5], 30).shape == (5, 30, 3)


def test_public_denoisers_stand_beside_ours(trained: Path, shared_data: Path) -> None:
    """BF-CNN and FFDNet reach about 32 dB on a piece of a Kodak image at σ = 25; ours is in the table, too."""
    kodak = np.asarray(Image.open(shared_data / "images/kodak24/kodim03.png"))[200:296, 300:396]
    rows = list(compare(trained / "w.safetensors", shared_data / "weights", {"kodim03": kodak}))
    values = {(row.denoiser, row.level): row.psnr for row in rows}
    assert set(values) == {(name, level) for name in ("noisy", "denoiser", "bfcnn", "ffdnet") for level in LEVELS}
    assert values["noisy", 25.0] < 22.0
    assert min(values["bfcnn", 25.0], values["ffdnet", 25.0]) > 29.0
    assert abs(values["bfcnn", 25.0] - values["ffdnet", 25.0]) < 1.0


def test_the_commands_train_and_measure(photos: Path, tmp_path: Path) -> None:
    """From the shell: the weights' path on standard output, then a table of decibels; a wrong name is an error."""
    arguments = [
        "diffusion",
        "--photos",
        photos,
        "--no-bundled",
        "--holdout",
        "p3",
        "--out",
        tmp_path / "w.safetensors",
    ]
    arguments += ["--work", tmp_path, "--steps", 1, "--batch", 1, "--crop", 16, "--float32"]
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.stdout == f"{tmp_path / 'w.safetensors'}\n"
    assert "step 1/1" in result.stderr
    arguments = ["denoising", "--weights", tmp_path / "w.safetensors", "--photos", photos]
    table = CliRunner().invoke(command, [*map(str, arguments), "--only", "p3"], catch_exceptions=False).stdout
    assert "denoiser" in table
    assert "sigma 25" in table
    wrong = CliRunner().invoke(command, [*map(str, arguments), "--only", "p9"])
    assert wrong.exit_code == 2
    assert "no photograph p9" in wrong.stderr
