"""The scripts of examples/, run as a reader runs them against a real service; the package has its own."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import skimage.data
from live_servers import LiveServer, running_server
from PIL import Image

from scoreguard_client import ScoringClient
from scoreguard_export.archive.build import BuildConfig, build
from scoreguard_handlers.config import ServeConfig

pytestmark = [pytest.mark.live, pytest.mark.slow]
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CHAIN = "blur:sigma=1.5+jpeg:quality=75"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped metric and the two defences that the examples name."""
    path = tmp_path_factory.mktemp("examples") / "model_store"
    build(BuildConfig(metrics=("lite",), defences=("blur", "jpeg"), model_store=path, default_variants=True))
    return path


@pytest.fixture(scope="module")
def address(store: Path) -> Iterator[str]:
    """A service with the chain in process."""
    with running_server(ServeConfig(model_store=store, backend="local", port=0, workers=1)) as server:
        yield address_of(server)


def address_of(server: LiveServer) -> str:
    """Where it listens."""
    return server.gateway.address


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two photographs, one of them poor and in a folder of its own, and a file that is no image."""
    folder = tmp_path / "photos"
    (folder / "poor").mkdir(parents=True)
    good = Image.fromarray(skimage.data.astronaut()).resize((128, 128))  # type: ignore[no-untyped-call]
    good.save(folder / "good.png")
    good.save(folder / "poor" / "poor.jpg", quality=5)
    (folder / "text.png").write_text("no image")
    return folder


def example(name: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run one to its end."""
    line = [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=600)


def test_a_folder_is_scored_as_the_client_scores_its_images(address: str, photos: Path) -> None:
    """One line for each image, in order; the one that cannot be read has its error, and the exit code is 1."""
    done = example("score_folder", photos, "--target", address, "--metric", "lite", "--chain", CHAIN)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert (done.returncode, done.stderr) == (1, "")
    assert [row["image"] for row in rows] == ["good.png", "poor/poor.jpg", "text.png"]
    with ScoringClient(address) as client:
        expected = client.score(photos / "good.png", metric="lite", defences=CHAIN, return_undefended=True)
    assert (float(rows[0]["score"]), float(rows[0]["undefended"])) == (expected.score, expected.undefended_score)
    assert not rows[2]["score"] and "text.png" in rows[2]["error"]


def test_a_gate_passes_what_is_good_and_rejects_what_is_poor_or_no_image(address: str, photos: Path) -> None:
    """The least score lies between the two images' own."""
    files = [photos / "good.png", photos / "poor" / "poor.jpg", photos / "text.png"]
    with ScoringClient(address) as client:
        good, poor = (client.score(path, metric="lite", defences=CHAIN).score for path in files[:2])
    least = f"{(good + poor) / 2}"
    done = example("gate_uploads", "--target", address, "--metric", "lite", "--least", least, *files)
    verdicts = [json.loads(line)["verdict"] for line in done.stdout.splitlines()]
    assert good > poor
    assert (done.returncode, verdicts) == (1, ["pass", "reject", "reject"])
    assert example("gate_uploads", "--target", address, "--metric", "lite", "--least", least, files[0]).returncode == 0


def test_an_attacked_service_has_a_table_of_gains(address: str, store: Path, photos: Path, tmp_path: Path) -> None:
    """Undefended, behind the chain, and by an attacker who knows it; the attack gains on the undefended metric."""
    (photos / "text.png").unlink()
    words = ["--target", address, "--metric", "lite", "--attack", "fgsm", "--chain", "jpeg:quality=50"]
    done = example("attack_service", photos, store, tmp_path / "run", *words)
    assert done.returncode == 0, done.stderr
    gains = [float(gain) for gain in re.findall(r"gain (-?\d\.\d+) of the range", done.stdout)]
    assert len(gains) == 3
    assert gains[0] > 0
    assert "knowing the chain | jpeg:quality=50" in done.stdout
    assert (tmp_path / "run" / "report" / "index.html").is_file()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("score_folder", ["{photos}", "--metric", "nothing"]),
        ("gate_uploads", ["{photos}/good.png", "--metric", "nothing", "--least", "1"]),
        ("attack_service", ["{photos}", "{photos}", "{photos}/run", "--metric", "nothing"]),
    ],
)
def test_a_metric_that_is_not_deployed_is_one_line_and_exit_code_2(
    name: str, words: list[str], address: str, photos: Path
) -> None:
    """Or, where every image carries its own status, an error for each of them."""
    done = example(name, *(word.format(photos=photos) for word in words), "--target", address)
    assert "Traceback" not in done.stderr
    if name == "score_folder":
        assert done.returncode == 1
        assert done.stdout.count("nothing") == 2
    else:
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ") and "nothing" in line
