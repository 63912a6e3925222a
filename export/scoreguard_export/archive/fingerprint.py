"""What determines the graphs of a module: its source code, the exporter's, the libraries of both, and its weights.

The code of a class is the file that defines it and every file of the same packages that it imports, directly or
indirectly. Files are read, not imported.
"""

from __future__ import annotations

import ast
import json
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from scoreguard.support.digests import sha256_of, sha256_of_file

OWN: Final = ("scoreguard", "scoreguard_export")
_EXPORTER: Final = (
    "scoreguard_export.archive.defence_export",
    "scoreguard_export.archive.export_graphs",
    "scoreguard_export.archive.golden",
    "scoreguard_export.archive.metric_export",
)
"""Modules that turn metrics and defences into artifacts."""
_IMPORTERS: Final = ("import_module", "library")
"""Functions whose first argument is a module that they import."""


def code_digest(kind: type) -> str:
    """Return the SHA-256 of the source code that defines a class, hexadecimal; third-party libraries do not count."""
    return _digest_of(_sources([kind.__module__]))


def export_key(kind: type, weights: Mapping[str, Path], **options: object) -> str:
    """Return the SHA-256 of everything that determines the export of a class.

    Args:
        kind: A metric or a defence.
        weights: The files that it may read, by name; only their content counts, not their paths.
        options: Options of the build.

    Raises:
        OSError: a file of weights cannot be read.
    """
    roots = [kind.__module__, *_EXPORTER]
    return combined(
        kind=f"{kind.__module__}:{kind.__qualname__}",
        code=_digest_of(_sources(roots)),
        libraries=_libraries(roots),
        python=platform.python_version_tuple()[:2],
        machine=platform.machine(),
        weights={name: sha256_of_file(path) for name, path in sorted(weights.items())},
        options=options,
    )


def combined(**parts: object) -> str:
    """Return one digest of several parts."""
    return sha256_of(json.dumps(parts, sort_keys=True).encode())


def _digest_of(sources: Mapping[str, Path]) -> str:
    return combined(**{name: _file_digest(path) for name, path in sorted(sources.items())})


@cache
def _file_digest(path: Path) -> str:
    return sha256_of_file(path)


def _sources(roots: Iterable[str]) -> dict[str, Path]:
    """Return the files of modules and of what they import from the same packages, by module name."""
    packages = {*OWN, *(root.partition(".")[0] for root in roots)}
    found: dict[str, Path] = {}
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        if module in found or module.partition(".")[0] not in packages or (path := _file_of(module)) is None:
            continue
        found[module] = path
        waiting += _imported(path, module)
    return found


@cache
def _file_of(module: str) -> Path | None:
    """Return the source file of a module; None if the name is not a module but something inside one."""
    try:
        spec = find_spec(module)
        origin = spec.origin if spec is not None else None
    except ModuleNotFoundError:
        return None
    except ValueError:  # a script that is run has no specification
        origin = getattr(sys.modules[module], "__file__", None)
    return Path(origin) if origin and origin.endswith(".py") else None


@cache
def _imported(path: Path, module: str) -> tuple[str, ...]:
    """Return the names that a file imports: modules, and names that may be modules."""
    return tuple(
        dict.fromkeys(name for node in ast.walk(ast.parse(path.read_bytes())) for name in _names(node, module))
    )


def _names(node: ast.AST, module: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parent = module.rsplit(".", node.level)[0]
            base = f"{parent}.{base}" if base else parent
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in _IMPORTERS:
        first = node.args[0] if node.args else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value


def _libraries(roots: Iterable[str]) -> dict[str, str]:
    """Return the versions of the distributions whose modules the code of `roots` imports."""
    sources = _sources(roots)
    tops = {name.partition(".")[0] for module, path in sources.items() for name in _imported(path, module)}
    others = tops - {module.partition(".")[0] for module in sources} - sys.stdlib_module_names
    return {name: found for top in sorted(others) for name, found in _versions(top)}


@cache
def _versions(top: str) -> tuple[tuple[str, str], ...]:
    """Return the distributions that provide a top-level package, with their versions."""
    try:
        return ((top, version(top)),)
    except PackageNotFoundError:
        return tuple((name, version(name)) for name in sorted(set(_distributions().get(top, ()))))


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()
