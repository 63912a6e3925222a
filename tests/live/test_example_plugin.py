"""Packages of others, installed into fresh environments: the example, and the recipes of docs/extending.md."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import skimage.data
from PIL import Image
from serve_command import ROOTS

import scoreguard_client
import scoreguard_export

pytestmark = [pytest.mark.live, pytest.mark.slow]
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "plugin"
PACKAGES = [*ROOTS, *(str(Path(package.__path__[0]).parent) for package in (scoreguard_client, scoreguard_export))]


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A virtual environment of its own; what is heavy is shared with this one."""

    python: Path
    """Its interpreter."""
    front: tuple[Path, ...] = ()
    """Folders in front of everything that is installed there."""

    @classmethod
    def fresh(cls, home: Path) -> Environment:
        """Make one in which our packages and their dependencies can be imported, and nothing else is."""
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
        # Entries of a .pth file are not searched for .pth files: every folder that this interpreter found is named.
        shared = [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
        (site,) = home.glob("lib/python*/site-packages")
        (site / "shared.pth").write_text("\n".join([*PACKAGES, *shared]) + "\n")
        return cls(python=home / "bin" / "python")

    @property
    def environment(self) -> dict[str, str]:
        """What a command is started with."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
        return {**variables, "PYTHONPATH": os.pathsep.join(map(str, self.front))}

    def install(self, package: Path) -> None:
        """Install a package by pip, its dependencies aside: they are shared."""
        options = ["--quiet", "--no-deps", "--no-build-isolation"]
        line = [sys.executable, "-m", "pip", "--python", str(self.python), "install", *options, str(package)]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def passes(self, package: Path) -> str:
        """Run a package's own tests; what pytest prints."""
        line = [str(self.python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
        environment = {**self.environment, "PYTHONWARNINGS": "ignore"}
        done = subprocess.run(line, cwd=package, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def words(self, package: str, *words: str) -> list[str]:
        """The command line of one of our commands."""
        code = f"import sys; from {package}.cli import main; sys.exit(main())"
        return [str(self.python), "-c", code, *words]

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
def installed(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The example, by pip, in an environment in which nothing else is installed."""
    environment = Environment.fresh(tmp_path_factory.mktemp("example"))
    environment.install(EXAMPLE)
    return environment


@pytest.fixture(scope="module")
def store(installed: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both of its metrics behind its defence and one of ours."""
    home = tmp_path_factory.mktemp("plugin")
    save = (
        "import sys, torch; from scoreguard_example.tiny import Tiny; "
        "torch.manual_seed(3); torch.save(Tiny().state_dict(), sys.argv[1])"
    )
    subprocess.run([str(installed.python), "-c", save, str(home / "tiny.pth")], check=True, env=installed.environment)
    words = ["--metrics", "sharpness,tiny", "--defences", "gamma,flip", "--weights", f"tiny={home / 'tiny.pth'}"]
    installed.done("scoreguard_export", "build", *words, "--model-store", str(home / "store"))
    return home / "store"


def test_both_catalogues_list_what_was_installed(installed: Environment) -> None:
    """Behind our own entries."""
    listed = json.loads(installed.done("scoreguard_export", "catalogue", "--json"))
    assert [metric["name"] for metric in listed["metrics"]][-2:] == ["sharpness", "tiny"]
    assert listed["defences"][-1]["name"] == "gamma"
    assert list(json.loads(installed.done("scoreguard_client", "attacks", "--json")))[-1] == "nifgsm"


def test_a_store_of_them_is_verified(installed: Environment, store: Path) -> None:
    """Facts, parity and golden vectors, where the package is installed."""
    printed = installed.done("scoreguard_export", "verify", "--model-store", str(store))
    assert printed.count("golden vectors: right") == 2


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small photograph, alone in a folder."""
    path = tmp_path_factory.mktemp("photos") / "coffee.png"
    photo = skimage.data.coffee()  # type: ignore[no-untyped-call]
    Image.fromarray(photo[100:196, 200:296]).save(path)
    return path


@pytest.fixture(scope="module")
def address(installed: Environment, store: Path) -> Iterator[str]:
    """A server of that store."""
    with installed.serving(store) as served:
        yield served


def test_its_own_tests_pass_where_it_is_installed(installed: Environment, tmp_path: Path) -> None:
    """The testers find no rule broken by any of its four classes."""
    shutil.copytree(EXAMPLE / "tests", tmp_path / "tests")
    assert "4 passed" in installed.passes(tmp_path)


def test_the_server_scores_with_them(installed: Environment, address: str, photo: Path) -> None:
    """A metric of theirs behind their defence; the gap shows that the defence was run."""
    words = ["score", str(photo), "--target", address, "--metric", "sharpness", "--defence", "gamma", "--undefended"]
    answer = json.loads(installed.done("scoreguard_client", *words, "--json"))
    assert 0.0 <= answer["score"] <= 100.0
    assert answer["undefended_score"] != answer["score"]


def test_a_campaign_with_them_reports_a_gain(
    installed: Environment, address: str, store: Path, photo: Path, tmp_path: Path
) -> None:
    """Attacked through its defence, with its attack, on the live endpoint."""
    run = tmp_path / "run"
    words = ["--target", address, "--metric", "sharpness", "--attacks", "nifgsm", "--defences", "none,gamma"]
    places = ["--images", str(photo.parent), "--surrogate", str(store), "--out", str(run)]
    installed.done("scoreguard_client", "attack", *words, *places, "--adaptive")
    table = installed.done("scoreguard_client", "report", str(run), "--json")
    rows = json.loads(table)["rows"]
    assert {row["attack"].split(":")[0] for row in rows} == {"nifgsm"}
    assert all(row["scores"]["absolute_gain"]["value"] > 0 for row in rows)


def with_entry_point(installed: Environment, folder: Path, package: str, line: str) -> Environment:
    """The same environment, beside a package that has nothing but the entry point of a metric."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[scoreguard.metrics]\n{line}\n")
    return replace(installed, front=(folder,))


def test_a_name_that_two_packages_take_is_an_error_that_names_both(installed: Environment, tmp_path: Path) -> None:
    """One line and exit code 2: nobody can know which of the two was meant."""
    both = with_entry_point(installed, tmp_path, "rival", "sharpness = scoreguard_example.tiny:Tiny")
    done = both.run(
        "scoreguard_export", "build", "--metrics", "sharpness", "--defences", "flip", "--model-store", "store"
    )
    (line,) = done.stderr.strip().splitlines()
    assert done.returncode == 2
    assert line.startswith("error: two packages have a metric sharpness: ")
    assert "rival" in line and "scoreguard-example" in line and line.endswith("; uninstall one of them")


def test_a_package_that_cannot_be_imported_is_named_and_breaks_nothing(installed: Environment, tmp_path: Path) -> None:
    """Asked for, it is one line and exit code 2; whatever else is there can be used."""
    broken = with_entry_point(installed, tmp_path, "broken", "bad = no_such_module:Bad")
    listed = broken.run("scoreguard_export", "catalogue", "--json")
    names = [metric["name"] for metric in json.loads(listed.stdout)["metrics"]]
    assert "bad" not in names and {"lite", "sharpness", "tiny"} <= set(names)
    assert listed.stderr.startswith("notice: metric bad of the package broken cannot be used: ModuleNotFoundError")
    words = ["build", "--metrics", "bad", "--defences", "flip", "--model-store", str(tmp_path / "store")]
    asked = broken.run("scoreguard_export", *words)
    (line,) = asked.stderr.strip().splitlines()
    assert (asked.returncode, line) == (
        2,
        "error: metric bad of the package broken cannot be used: ModuleNotFoundError: No module named 'no_such_module'",
    )
    assert not (tmp_path / "store").exists()


RECIPES = EXAMPLE.parents[1] / "docs" / "extending.md"
BLOCK = re.compile(r"(?:<!-- not run: (?P<path>\S+\.py),[^>]*-->\n)?```(?P<language>\w+)\n(?P<code>.*?)```", re.DOTALL)


@pytest.mark.slow
def test_the_recipes_of_the_documentation_obey_every_rule(tmp_path: Path) -> None:
    """The page's files, entry points and tests as a package: installed, and its tests run."""
    package, points = tmp_path / "package", list[str]()
    for block in BLOCK.finditer(RECIPES.read_text()):
        if block["path"]:
            path = package / block["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block["code"])
        elif block["language"] == "toml":
            points.append(block["code"])
    (package / "my_package" / "__init__.py").touch()
    project = '[project]\nname = "my-package"\nversion = "1.0"\n'
    build = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
    (package / "pyproject.toml").write_text("\n".join([build, project, *points]))
    environment = Environment.fresh(tmp_path / "environment")
    environment.install(package)
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree(package / "tests", tmp_path / "elsewhere" / "tests")
    assert "3 passed" in environment.passes(tmp_path / "elsewhere")
