"""`scoreguard-export calibrate`: five numbers of a metric on a folder of images, and the digest of their list."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scoreguard.calibration import Calibration, bounds_of
from scoreguard.v1.archive import Archive
from scoreguard_export.archive.parity_images import photographs
from scoreguard_export.archive.verify import verify_archive
from scoreguard_export.cli import main
from scoreguard_export.metrics.catalogue import load_metric


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Five images of different sizes, and a file that is none."""
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(5):
        pixels = photographs(1, 60 + 9 * index, 80 - 4 * index, index)[0].permute(1, 2, 0).numpy()
        Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(folder / f"{index}.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command."""
    with pytest.raises(SystemExit) as ended:
        main(["calibrate", *arguments])
    output = capsys.readouterr()
    return int(str(ended.value.code)), output.out, output.err


def test_the_five_numbers_are_those_of_the_scores(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scores of each image by itself; five of them are the quantiles. The digest is that of sha256sum's list."""
    metric, scores, lines = load_metric("lite"), [], []
    for path in sorted(images.glob("*.png")):
        values = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None].float() / 255.0
        with torch.no_grad():
            scores.append(float(metric(values)[0]))
        lines.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    code, output, _ = run(capsys, "lite", "--images", str(images), "--out", str(tmp_path / "range.json"), "--json")
    assert code == 0
    found = Calibration.read(tmp_path / "range.json")
    assert json.loads(output) == json.loads((tmp_path / "range.json").read_text())
    numbers = (found.low, found.lower_quartile, found.median, found.upper_quartile, found.high)
    assert numbers == pytest.approx(sorted(scores))
    assert found.images_sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert (found.metric, found.images, set(found.weights)) == ("lite", 5, {"lite"})
    assert output and "lite on 5 images: " in run(capsys, "lite", "--images", str(images))[1]


def test_images_that_give_no_range_are_one_line(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No folder, one image, equal images, one too small, a file that is damaged."""
    alone, alike = tmp_path / "alone", tmp_path / "alike"
    for folder, names in ((alone, ["a"]), (alike, ["a", "b"])):
        folder.mkdir()
        for name in names:
            (folder / f"{name}.png").write_bytes((images / "0.png").read_bytes())
    cases = {
        "does not hold two images": tmp_path / "none",
        "does not hold two images: a range needs": alone,
        "these are no bounds": alike,
    }
    for message, folder in cases.items():
        code, output, told = run(capsys, "lite", "--images", str(folder))
        assert (code, output) == (2, "")
        assert message in told.splitlines()[-1]
    code, _, told = run(capsys, "niqe", "--images", str(images))
    assert (code, "0.png is 80 x 60: niqe reads 96 x 96 and larger" in told) == (2, True)
    (images / "5.png").write_bytes(b"no image")
    code, _, told = run(capsys, "lite", "--images", str(images))
    assert (code, "cannot read" in told and "5.png" in told) == (2, True)


def build(capsys: pytest.CaptureFixture[str], store: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and standard error of a small build."""
    with pytest.raises(SystemExit) as ended:
        main(["build", "--metrics", "lite", "--defences", "flip", "--model-store", str(store), *arguments])
    return int(str(ended.value.code or 0)), capsys.readouterr().err


def test_a_build_keeps_a_calibration_in_the_manifest(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of it, with the digest of the images; `verify` takes the archive for the catalogue's all the same."""
    path, store = tmp_path / "range.json", tmp_path / "store"
    run(capsys, "lite", "--images", str(images), "--out", str(path))
    code, error = build(capsys, store, "--calibration", str(path))
    assert code == 0, error
    facts = Archive(store / "lite.mar").manifest.metric.facts
    assert facts.calibration == Calibration.read(path).to_message()
    assert bounds_of(facts) == Calibration.read(path).bounds
    verify_archive(Archive(store / "lite.mar"))
    build(capsys, store)
    assert bounds_of(Archive(store / "lite.mar").manifest.metric.facts) is None


def test_a_calibration_that_belongs_nowhere_is_one_line(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of another metric, twice, of other weights, and none at all."""
    path, other, store = tmp_path / "range.json", tmp_path / "other.json", tmp_path / "store"
    run(capsys, "lite", "--images", str(images), "--out", str(path))
    content = json.loads(path.read_text())
    for change, said in (
        ({"metric": "niqe"}, "is a calibration of niqe, which is not built"),
        ({"weights": {"lite": "00" * 32}}, "was measured with other weights of lite"),
        ({"kind": "else"}, "is no calibration"),
    ):
        other.write_text(json.dumps(content | change))
        code, error = build(capsys, store, "--calibration", str(other))
        assert code == 2
        assert said in error.strip().splitlines()[-1]
    code, error = build(capsys, store, "--calibration", str(path), "--calibration", str(path))
    assert code == 2
    assert "are both calibrations of lite" in error
