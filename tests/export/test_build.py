"""Archives: deterministic, verified, and honest about every way in which a build can fail."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scoreguard.v1.archive import Archive
from scoreguard.v1.errors import IntegrityError
from scoreguard_export import cli
from scoreguard_export.archive.build import BuildConfig, build, count_steps
from scoreguard_export.archive.defence_export import DefenceExporter, eager_defence
from scoreguard_export.archive.eager import EagerDefence
from scoreguard_export.archive.golden import golden_image, golden_vectors
from scoreguard_export.archive.verify import verify_archive
from scoreguard_export.defences.catalogue import chosen_variants, defence_named
from scoreguard_export.errors import ExportError
from scoreguard_export.metrics.catalogue import load_metric

COMMAND = [sys.executable, "-c", "from scoreguard_export.cli import main; main()"]
OPTIONS = ["--metrics", "lite", "--defences", "flip", "--self-contained", "--model-store"]


def eager(name: str) -> EagerDefence:
    """The modules of a defence's default variant."""
    kind = defence_named(name)
    exported = DefenceExporter(weights={}).export(kind, chosen_variants(name, {}, default_only=True))
    return eager_defence(kind, exported.artifact, {})


def run(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run scoreguard-export as a user does."""
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, cwd=cwd, check=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with `lite` behind `flip`."""
    path = tmp_path_factory.mktemp("build") / "model_store"
    done = run("build", *OPTIONS, str(path))
    assert done.returncode == 0, done.stderr
    return path


@pytest.mark.slow
def test_the_same_inputs_give_the_same_bytes_in_another_process_and_folder(store: Path, tmp_path: Path) -> None:
    """The archive's digest names its content."""
    done = run("build", *OPTIONS, str(tmp_path / "other"), "--json")
    assert done.returncode == 0, done.stderr
    (built,) = json.loads(done.stdout)
    assert Path(built["path"]).read_bytes() == (store / "lite.mar").read_bytes()


def test_the_manifest_describes_every_file(store: Path) -> None:
    """Facts, parity, golden vectors, versions and digests are there, and no file is left out."""
    archive = Archive(store / "lite.mar")
    manifest = archive.manifest
    facts = manifest.metric.facts
    assert (facts.name, facts.range_low, facts.range_high, facts.higher_is_better) == ("lite", 0, 100, True)
    assert {case.engine for case in manifest.metric.parity} == {"torchscript", "onnx"}
    assert all(case.max_abs_error <= case.tolerance for case in manifest.metric.parity)
    assert [golden.defences for golden in manifest.golden_vectors] == ["", "flip"]
    assert "torch" in manifest.library_versions
    own = {"manifest.json", "model-config.yaml", "defended_score.py", "MAR-INF/MANIFEST.json"}
    with zipfile.ZipFile(archive.path) as zipped:
        assert {entry.path for entry in manifest.files} == set(zipped.namelist()) - own


def test_the_archive_holds_no_path_of_the_machine(store: Path) -> None:
    """Neither the checkout nor the interpreter leaves a trace."""
    with zipfile.ZipFile(store / "lite.mar") as zipped:
        for name in zipped.namelist():
            data = zipped.read(name)
            assert str(Path.cwd()).encode() not in data, name
            assert sys.prefix.encode() not in data, name


def test_plain_torchserve_finds_its_configuration(store: Path) -> None:
    """Loopback only, no tokens, a quiet log that is there."""
    lines = (store / "config.properties").read_text().splitlines()
    properties = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert properties["inference_address"] == "http://127.0.0.1:8080"
    assert properties["grpc_inference_address"] == "127.0.0.1"
    assert Path(properties["vmargs"].rpartition("-Dlog4j.configurationFile=")[2]).is_file()


def test_verify_confirms_a_sound_store(store: Path) -> None:
    """Digests, modules and golden vectors are right."""
    done = run("verify", "--model-store", str(store), "--json")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    assert result["metric"] == "lite"
    assert result["graphs"] == 1 + 4


def with_changed_byte(source: Path, target: Path, name: str) -> Path:
    """A copy of an archive in which one byte of one file differs."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.namelist():
            data = bytearray(old.read(entry))
            if entry == name:
                data[len(data) // 2] ^= 1
            new.writestr(entry, bytes(data))
    return target


@pytest.mark.parametrize("name", ["metric.onnx", "metric.pt", "golden/image.png"])
def test_a_changed_byte_is_found(store: Path, tmp_path: Path, name: str) -> None:
    """The error names the file in one line."""
    changed = with_changed_byte(store / "lite.mar", tmp_path / "lite.mar", name)
    with pytest.raises(IntegrityError, match=f"{name} was changed") as caught:
        verify_archive(Archive(changed))
    assert "\n" not in str(caught.value)


def test_a_golden_score_that_was_edited_is_found(store: Path, tmp_path: Path) -> None:
    """The manifest's own numbers are checked, too."""
    folder = tmp_path / "lite"
    with zipfile.ZipFile(store / "lite.mar") as zipped:
        zipped.extractall(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["golden_vectors"][0]["score"] += 5
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ExportError, match="golden image behind no defence"):
        verify_archive(Archive(folder))


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["build", "--metrics", "lit"], "did you mean lite"),
        (["build", "--defences", "jpg"], "did you mean jpeg"),
        (["build", "--metrics", "nima"], "not shipped"),
        (["build", "--metrics", "nima", "--weights", "nowhere.pt"], "nowhere.pt"),
        (["build", "--metrics", "lite", "--defences", "ffdnet", "--weights", "ffdnet=."], "no weights of ffdnet at ."),
        (["build", "--metrics", "lite,nima", "--weights", "x.pt"], "NAME=x.pt"),
        (["build", "--metrics", "lite", "--weights", "nima=x.pt"], "which nothing needs that is built: see --metrics"),
        (["verify", "--model-store", "nowhere"], "run scoreguard-export build first"),
        (["build", "--nonsense"], "No such option"),
        (["train", "lite", "--photos", "nowhere"], "does not exist"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words: list[str], problem: str, tmp_path: Path) -> None:
    """Never a traceback, and nothing is written."""
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert problem in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("error:")]) == 1
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words", [[], ["build"], ["verify"], ["catalogue"], ["train"], ["train", "lite"], ["evaluate"]]
)
def test_help_shows_an_example(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Every command shows how it is used."""
    with pytest.raises(SystemExit) as stopped:
        cli.main([*words, "--help"])
    assert stopped.value.code == 0
    assert "Example: scoreguard-export" in capsys.readouterr().out


def test_the_steps_of_a_build_are_counted_before_it_starts(tmp_path: Path) -> None:
    """A progress bar knows its end: one metric and four variants of flip."""
    assert count_steps(BuildConfig(metrics=("lite",), defences=("flip",), model_store=tmp_path)) == 5


def test_a_failed_build_leaves_the_old_archive(store: Path, tmp_path: Path) -> None:
    """Weights are checked before anything is written."""
    shutil.copy(store / "lite.mar", tmp_path / "lite.mar")
    before = (tmp_path / "lite.mar").read_bytes()
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"not weights")
    with pytest.raises(ExportError):
        build(BuildConfig(metrics=("lite",), defences=(), model_store=tmp_path, weights={"lite": bad}))
    assert (tmp_path / "lite.mar").read_bytes() == before


def test_the_golden_image_is_large_enough_to_be_halved_before_the_metric() -> None:
    """NIQE reads 96 pixels: its image has 192, and a defence that leaves too little has no vector."""
    metric, halve = load_metric("niqe"), eager("resize")
    image = golden_image(metric.facts.minimum_size)
    assert image.image.shape == (1, 3, 192, 192)
    assert [vector.defences for vector in golden_vectors(metric, [halve], image)] == ["", "resize"]
    small = golden_image()
    assert [vector.defences for vector in golden_vectors(metric, [halve], small)] == [""]
