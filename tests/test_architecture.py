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
    root = PACKAGES[package].parent
    names = {".".join(path.relative_to(root).with_suffix("").parts): path for path in modules(package)}
    arrows = {name: runtime_imports(path) & set(names) for name, path in names.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail, name])
        if name in done:
            return
        for target in arrows[name]:
            visit(target, (*trail, name))
        done.add(name)

    for name in names:
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
        ("scoreguard_handlers.worker", ("torch", "ts", "scipy")),
        ("scoreguard_handlers.torchserve_entry", ("torch", "ts", "grpc")),
        ("scoreguard.v1.archive", ("torch", "grpc", "PIL")),
    ],
)
def test_a_light_module_stays_light(module: str, heavy: tuple[str, ...]) -> None:
    """Importing it loads none of the heavy libraries."""
    code = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
