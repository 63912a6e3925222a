"""The import arrows of the design: export, handlers and clients know nothing of each other but the contracts."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "scoreguard": ROOT / "proto/scoreguard",
    "scoreguard_export": ROOT / "export/scoreguard_export",
    "scoreguard_handlers": ROOT / "handlers/scoreguard_handlers",
    "scoreguard_client": ROOT / "clients/scoreguard_client",
}
ALLOWED = {
    "scoreguard": {"scoreguard"},
    "scoreguard_export": {"scoreguard", "scoreguard_export"},
    "scoreguard_handlers": {"scoreguard", "scoreguard_handlers"},
    "scoreguard_client": {"scoreguard", "scoreguard_client"},
}
LONGEST_MODULE = 400


def modules(package: str) -> Iterator[Path]:
    """The hand-written modules of a package."""
    return (path for path in PACKAGES[package].rglob("*.py") if "_pb2" not in path.name)


def imported(path: Path) -> set[str]:
    """Absolute names that a module imports, at any depth."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or ""))
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_the_contracts_and_itself(package: str) -> None:
    """No arrow between export, handlers and clients."""
    strays = {
        (path.name, name)
        for path in modules(package)
        for name in imported(path)
        if name.split(".")[0] in PACKAGES and name.split(".")[0] not in ALLOWED[package]
    }
    assert not strays


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_are_absolute(package: str) -> None:
    """Every arrow is spelt in full, so that people and tools see it."""
    assert not {(path.name, name) for path in modules(package) for name in imported(path) if name.startswith(".")}


def test_the_chain_knows_no_torchserve() -> None:
    """No module of the handlers imports `ts`: the chain must outlive TorchServe."""
    strays = {
        path.name for path in modules("scoreguard_handlers") for name in imported(path) if name.split(".")[0] == "ts"
    }
    assert not strays


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_is_longer_than_the_limit(package: str) -> None:
    """A module fits in a head."""
    long = {path.name: n for path in modules(package) if (n := len(path.read_text().splitlines())) > LONGEST_MODULE}
    assert not long


@pytest.mark.parametrize("package", PACKAGES)
def test_there_is_no_import_cycle(package: str) -> None:
    """Modules of a package form a directed graph without cycles (imports for types only do not count)."""
    require_no_cycle(arrows_of(package))


@pytest.mark.parametrize("package", PACKAGES)
def test_folders_form_no_circle(package: str) -> None:
    """Nor do its folders: whoever reads one from below needs none above it."""
    folders = {folder_of(name) for name in names_of(package)}
    arrows: dict[str, set[str]] = {folder: set() for folder in folders}
    for name, path in names_of(package).items():
        # A folder's face, `from package.folder import Thing`, counts as the folder.
        arrows[folder_of(name)] |= {folder_of(target) for target in runtime_imports(path)} & folders - {folder_of(name)}
    require_no_cycle(arrows)


def arrows_of(package: str) -> dict[str, set[str]]:
    """The modules of a package that each of them imports."""
    names = names_of(package)
    return {name: runtime_imports(path) & set(names) for name, path in names.items()}


def names_of(package: str) -> dict[str, Path]:
    """The modules of a package by their names."""
    root = PACKAGES[package].parent
    return {".".join(path.relative_to(root).with_suffix("").parts): path for path in modules(package)}


def folder_of(module: str) -> str:
    """The folder right below the package that a module lies in; the module itself where it lies in the package."""
    return ".".join(module.split(".")[:2])


def require_no_cycle(arrows: dict[str, set[str]]) -> None:
    """Follow every arrow; the trail that comes back to where it was is shown."""
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail, name])
        if name in done:
            return
        for target in arrows.get(name, set()):
            visit(target, (*trail, name))
        done.add(name)

    for name in arrows:
        visit(name, ())


def runtime_imports(path: Path) -> set[str]:
    """Modules that are imported when the module itself is, `TYPE_CHECKING` blocks left out."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("scoreguard_client", ("torch", "onnxruntime", "scipy", "skimage", "ts", "matplotlib")),
        ("scoreguard_handlers.worker.worker", ("torch", "ts", "scipy")),
        ("scoreguard_handlers.torchserve.entry", ("torch", "ts", "grpc")),
        ("scoreguard.v1.archive", ("torch", "grpc", "PIL")),
    ],
)
def test_a_light_module_stays_light(module: str, heavy: tuple[str, ...]) -> None:
    """Importing it loads none of the heavy libraries."""
    code = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
