"""The example package: installed as anybody would, its metrics, defence and attack are at every command's hand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import skimage.data
from PIL import Image
from serve_command import ROOTS

import scoreguard_client
import scoreguard_export

pytestmark = pytest.mark.live
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "plugin"
PACKAGES = [*ROOTS, *(str(Path(package.__path__[0]).parent) for package in (scoreguard_client, scoreguard_export))]


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A folder that the package was installed into, in front of everything that is there already."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a command is started with."""
        return {**os.environ, "PYTHONPATH": os.pathsep.join([str(self.folder), *PACKAGES])}

    def words(self, package: str, *words: str) -> list[str]:
        """The command line of one of our commands."""
        code = f"import sys; from {package}.cli import main; sys.exit(main())"
        return [sys.executable, "-c", code, *words]

    def run(self, package: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        line = self.words(package, *words)
        return subprocess.run(line, capture_output=True, text=True, check=False, env=self.environment)

    def done(self, package: str, *words: str) -> str:
        """What a command that succeeds prints."""
        finished = self.run(package, *words)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    @contextmanager
    def serving(self, store: Path) -> Iterator[str]:
        """A server on a free port, stopped at the end."""
        options = ["--model-store", str(store), "--backend", "local", "--workers", "1", "--port", "0"]
        line = self.words("scoreguard_handlers", *options)
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=self.environment) as server:
            try:
                assert server.stdout is not None
                ready = next(text for text in server.stdout if text.startswith("ready: "))
                match = re.search(r"localhost:\d+", ready)
                assert match is not None, ready
                yield match[0]
            finally:
                server.terminate()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The example, by pip."""
    folder = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(folder)]
    line = [sys.executable, "-m", "pip", "install", *options, str(EXAMPLE)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Installed(folder=folder)


@pytest.fixture(scope="module")
def store(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both of its metrics behind its defence and one of ours."""
    home = tmp_path_factory.mktemp("plugin")
    save = (
        "import sys, torch; from scoreguard_example.tiny import Tiny; "
        "torch.manual_seed(3); torch.save(Tiny().state_dict(), sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", save, str(home / "tiny.pth")], check=True, env=installed.environment)
    words = ["--metrics", "sharpness,tiny", "--defences", "gamma,flip", "--weights", f"tiny={home / 'tiny.pth'}"]
    installed.done("scoreguard_export", "build", *words, "--model-store", str(home / "store"))
    return home / "store"


def test_both_catalogues_list_what_was_installed(installed: Installed) -> None:
    """Behind our own entries."""
    listed = json.loads(installed.done("scoreguard_export", "catalogue", "--json"))
    assert [metric["name"] for metric in listed["metrics"]][-2:] == ["sharpness", "tiny"]
    assert listed["defences"][-1]["name"] == "gamma"
    assert list(json.loads(installed.done("scoreguard_client", "attacks", "--json")))[-1] == "nifgsm"


def test_a_store_of_them_is_verified(installed: Installed, store: Path) -> None:
    """Facts, parity and golden vectors, where the package is installed."""
    printed = installed.done("scoreguard_export", "verify", "--model-store", str(store))
    assert printed.count("golden vectors: right") == 2


def test_a_campaign_with_them_reports_a_gain(installed: Installed, store: Path, tmp_path: Path) -> None:
    """Attacked through its defence, with its attack, on the live endpoint."""
    (tmp_path / "photos").mkdir()
    photo = skimage.data.coffee()  # type: ignore[no-untyped-call]
    Image.fromarray(photo[100:196, 200:296]).save(tmp_path / "photos" / "coffee.png")
    run = tmp_path / "run"
    with installed.serving(store) as address:
        words = ["--target", address, "--metric", "sharpness", "--attacks", "nifgsm", "--defences", "none,gamma"]
        places = ["--images", str(tmp_path / "photos"), "--surrogate", str(store), "--out", str(run)]
        installed.done("scoreguard_client", "attack", *words, *places, "--adaptive")
    table = installed.done("scoreguard_client", "report", str(run), "--json")
    rows = json.loads(table)["rows"]
    assert {row["attack"].split(":")[0] for row in rows} == {"nifgsm"}
    assert all(row["scores"]["absolute_gain"]["value"] > 0 for row in rows)


def test_a_package_that_cannot_be_imported_is_named_and_breaks_nothing(installed: Installed, tmp_path: Path) -> None:
    """Asked for, it is one line and exit code 2; whatever else is there can be used."""
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[scoreguard.metrics]\nbad = no_such_module:Bad\n")
    broken = Installed(folder=tmp_path)
    listed = broken.run("scoreguard_export", "catalogue", "--json")
    names = [metric["name"] for metric in json.loads(listed.stdout)["metrics"]]
    assert "bad" not in names and "lite" in names
    assert listed.stderr.startswith("notice: metric bad of the package broken cannot be used: ModuleNotFoundError")
    words = ["build", "--metrics", "bad", "--defences", "flip", "--model-store", str(tmp_path / "store")]
    asked = broken.run("scoreguard_export", *words)
    (line,) = asked.stderr.strip().splitlines()
    assert (asked.returncode, line) == (
        2,
        "error: metric bad of the package broken cannot be used: ModuleNotFoundError: No module named 'no_such_module'",
    )
    assert not (tmp_path / "store").exists()
