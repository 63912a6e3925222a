"""`scoreguard uap` as a user runs it, on a local archive and against the small real server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from tests.clients.oracles.toy_archive import write_archive

from scoreguard.support import console
from scoreguard.support.digests import sha256_of
from scoreguard.v1.errors import ContractError
from scoreguard_client import ScoreguardError
from scoreguard_client.cli import command
from scoreguard_client.perturbations.artifact import load_perturbation, save_perturbation

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs the command and gives exit code, output and errors."""

    def execute(*arguments: object) -> tuple[int, str, str]:
        code = console.run(command, errors=(ScoreguardError, ContractError), argv=[str(word) for word in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return execute


@pytest.fixture
def train(run: Run, photos: Path, tmp_path: Path) -> Run:
    """A function that trains by a local archive with some defaults; later options win."""
    write_archive(tmp_path / "energy")

    def execute(*arguments: object) -> tuple[int, str, str]:
        fixed = ["--kind", "optimized", "--metric", "energy", "--surrogate", tmp_path / "energy", "--images", photos]
        fixed += ["--out", tmp_path / "u.safetensors", "--size", 8, "--batch", 2]
        return run("uap", "train", *fixed, *arguments)

    return execute


def test_a_training_and_its_facts_from_the_command_line(train: Run, run: Run, tmp_path: Path) -> None:
    """What is printed names the file, its digest and what comes next; show repeats the recipe."""
    code, out, err = train("--epochs", 2, "--chain", "scale:factor=0.25+noise", "--draws", 2)
    path = tmp_path / "u.safetensors"
    digest = sha256_of(path.read_bytes())
    assert code == 0
    assert digest in out
    assert f"optimized-uap:file={path}" in out
    assert "6/6 score" in err
    code, out, _ = run("uap", "show", path)
    lines = dict(line.split(": ", 1) for line in out.splitlines())
    wanted = {"sha256": digest, "kind": "optimized", "steps": "6", "chain": "scale:factor=0.25+noise", "images": "5"}
    assert (code, lines | wanted) == (0, lines)
    assert lines["source"].startswith("local:energy:")
    code, again, _ = train("--epochs", 2, "--chain", "scale:factor=0.25+noise", "--draws", 2)
    assert (code, digest in again) == (0, True), "the same command again hands out what is there"


def test_a_file_that_cannot_be_read_is_left_out_by_name(train: Run, photos: Path) -> None:
    """The training goes on with the others, and says so."""
    (photos / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, _, err = train("--epochs", 1)
    assert code == 0
    assert "left out: cut.png: " in err


@pytest.mark.parametrize(
    ("kind", "direction"),
    [("cumulative", "up"), ("optimized", "down"), ("generative", "up"), ("momentum", "down")],
)
def test_json_answers_can_be_read_by_programs(kind: str, direction: str, train: Run, run: Run, tmp_path: Path) -> None:
    """One object on standard output, the same facts from both commands."""
    code, out, _ = train("--kind", kind, "--direction", direction, "--channels", 2, "--json")
    answer = json.loads(out)
    assert code == 0
    assert (answer["recipe"]["kind"], answer["recipe"]["direction"]) == (kind, direction)
    assert answer["recipe"]["epochs"] == {"generative": 1, "momentum": 20}.get(kind, 5)
    assert answer["recipe"]["bound"] == pytest.approx(10 / 255 if kind in ("generative", "momentum") else 0.1)
    _, out, _ = run("uap", "show", tmp_path / "u.safetensors", "--json")
    assert json.loads(out) == answer


def test_show_draws_the_perturbation_amplified(train: Run, run: Run, tmp_path: Path) -> None:
    """Its largest value becomes white or black, zero grey."""
    train()
    path = tmp_path / "u.safetensors"
    values = load_perturbation(path).values.copy()
    values[0, 0, 0], values[1, 0, 0], values[2, 0, 0] = 0.1, -0.1, 0
    recipe = load_perturbation(path).recipe
    assert recipe is not None
    save_perturbation(path, values, recipe)
    code, _, _ = run("uap", "show", path, "--png", tmp_path / "new" / "u.png")
    with PIL.Image.open(tmp_path / "new/u.png") as image:
        levels = np.asarray(image)
    assert code == 0
    assert levels.shape == (8, 8, 3)
    assert levels[0, 0].tolist() == [255, 0, 128]


def test_gradients_may_come_from_the_server(run: Run, running: Any, grey_photos: Path, tmp_path: Path) -> None:
    """Brightness is raised by white: every value ends at the bound; the recipe names the deployed archive."""
    options = ["--metric", "bright", "--gradients", "live", "--target", running.target, "--chain", "dim"]
    fixed = ["--kind", "cumulative", "--size", 8, "--images", grey_photos, "--out", tmp_path / "u.safetensors"]
    code, out, _ = run("uap", "train", *options, *fixed, "--rate", "0.05", "--json")
    recipe = json.loads(out)["recipe"]
    assert (code, recipe["source"], recipe["chain"]) == (0, f"live:bright:{'ef' * 32}", "dim:factor=0.5:level=1")
    np.testing.assert_allclose(load_perturbation(tmp_path / "u.safetensors").values, 0.1, atol=1e-6)
    code, _, err = run("uap", "train", *options, *fixed[:-1], tmp_path / "b.safetensors", "--mode", "benchmark")
    assert (code, "values beyond [0, 1]: give a --surrogate" in err, err.count("\n")) == (2, True, 1)


def test_a_server_without_gradients_gives_one_line(
    run: Run, running_without_gradients: Any, photos: Path, tmp_path: Path
) -> None:
    """Whatever its catalogue says."""
    options = ["--metric", "bright", "--gradients", "live", "--target", running_without_gradients.target]
    out = tmp_path / "u.safetensors"
    code, _, err = run("uap", "train", "--kind", "cumulative", "--size", 8, "--images", photos, "--out", out, *options)
    assert code == 2
    assert "error:" in err
    assert err.splitlines()[-1].count("error:") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--images", "nowhere"], "not a folder"),
        (["--images", "."], "holds no image"),
        (["--metric", "lite", "--surrogate", "nowhere"], "no .mar archive"),
        (["--chain", "nothing"], "no defence 'nothing'"),
        (["--chain", "a b"], "is not a name"),
        (["--out", "u.npy"], "must end in .safetensors"),
        (["--kind", "magic"], "kind"),
        (["--kind", "generative", "--size", "24"], "64, 128, 256"),
        (["--size", "4"], "size must be at least 8"),
        (["--bound", "2"], "bound must be in"),
        (["--bound", "0"], "bound"),
        (["--epochs", "0"], "epochs"),
        (["--mode", "exact"], "mode"),
        (["--surrogate", "nowhere", "--gradients", "live", "--target", "localhost:1", "--timeout", "2"], "localhost:1"),
    ],
)
def test_bad_input_gives_one_line_and_code_2(
    arguments: list[str], said: str, train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a traceback."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    code, _, err = train(*arguments)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "u.safetensors").exists()


def test_files_that_cannot_be_shown_give_one_line(run: Run, photos: Path, tmp_path: Path) -> None:
    """A missing one, a photograph, and an image that cannot be written."""
    (tmp_path / "u.safetensors").write_bytes(b"x")
    for name in ("gone.safetensors", "u.safetensors", photos / "00.png"):
        code, _, err = run("uap", "show", tmp_path / name)
        assert (code, err.count("\n")) == (2, 1)
    np.save(tmp_path / "u.npy", np.full((4, 4, 3), 0.1, np.float32))
    assert run("uap", "show", tmp_path / "u.npy")[1].endswith("recipe: unknown\n")
    code, _, err = run("uap", "show", tmp_path / "u.npy", "--png", tmp_path / "u.safetensors" / "u.png")
    assert (code, "cannot write" in err) == (2, True)


@pytest.mark.parametrize("words", [["uap"], ["uap", "--help"], ["uap", "train", "--help"], ["uap", "show", "--help"]])
def test_help_shows_an_example(words: list[str], run: Run) -> None:
    """The group and both commands have one."""
    code, out, _ = run(*words)
    assert code == 0
    assert "Example" in out
    assert f"scoreguard {' '.join(word for word in words if word != '--help')}" in out


def test_the_package_imports_without_torch_and_safetensors() -> None:
    """They are asked for when a training or a file needs them, with a word on what to install."""
    code = """
import importlib.abc, sys
class Guard(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "safetensors"}:
            raise ModuleNotFoundError(f"{name} is not here", name=name)
sys.meta_path.insert(0, Guard())
import scoreguard_client.universal.launch
from scoreguard_client.attacks.optimized_uap import OptimizedUAP
from scoreguard_client import MissingExtraError
try:
    OptimizedUAP(file=sys.argv[1]).pinned()
except MissingExtraError as error:
    print(error)
"""
    path = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}", __file__]
    answer = subprocess.run(path, capture_output=True, text=True, timeout=60, check=False)
    assert "a universal perturbation needs pip install 'scoreguard[attacks]'" in answer.stdout, answer.stderr


def test_a_training_takes_the_device_of_its_gradients(train: Run, tmp_path: Path) -> None:
    """`auto` says on stderr what it took; live gradients have the server's device."""
    code, _, err = train("--device", "auto", "--epochs", 1)
    assert code == 0
    assert "device cpu: auto chose the CPU, since" in err or "auto chose the first GPU" in err
    code, out, err = train("--out", tmp_path / "live.safetensors", "--gradients", "live", "--device", "cuda")
    assert (code, out) == (2, "")
    assert "--device and the options beside it are for gradients from an archive" in err
    assert len(err.strip().splitlines()) == 1
