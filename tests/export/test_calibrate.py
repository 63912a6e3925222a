"""`scoreguard-export calibrate`: five numbers of a metric on a folder of images, and the digest of their list."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scoreguard.calibration import Calibration
from scoreguard_export.archive.parity_images import photographs
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
