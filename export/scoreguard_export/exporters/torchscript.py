"""Write TorchScript whose bytes depend only on the module: no paths, no times, no history of the process."""

from __future__ import annotations

import contextlib
import io
import re
import weakref
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import torch
from torch import _jit_internal
from torch.jit import _recursive, _state

from scoreguard_export.errors import GraphError
from scoreguard_export.exporters.quiet import quiet
from scoreguard_export.exporters.signature import describe, example_inputs
from scoreguard_export.graph_module import GraphModule

_EPOCH = (1980, 1, 1, 0, 0, 0)
_DROPPED = re.compile(r"\.debug_pkl$|/\.data/serialization_id$|/traced_inputs")
"""Source positions with the paths of this machine, a digest over them, and a tracer's inputs: loading needs none."""


@runtime_checkable
class BuildsTorchScript(Protocol):
    """A module that builds its own TorchScript."""

    def torchscript(self) -> torch.jit.ScriptModule:
        """Build the script module, with the inputs of `forward`."""
        ...


def export_torchscript(module: GraphModule, path: Path) -> None:
    """Write a module as TorchScript that takes any batch, height and width.

    The module is compiled if the compiler accepts it, which keeps sizes and branches dynamic; otherwise it is traced.

    Args:
        module: In evaluation mode; on the CPU.
        path: File to write, `.pt`.

    Raises:
        GraphError: the module can be neither compiled nor traced.
    """
    with quiet():
        archive = _own(module) or _compiled(module) or _traced(module)
    path.write_bytes(_normalised(archive))


def _own(module: GraphModule) -> bytes | None:
    return _saved(module.torchscript) if isinstance(module, BuildsTorchScript) else None


def _compiled(module: GraphModule) -> bytes | None:
    try:
        return _saved(lambda: torch.jit.script(module))
    except Exception:  # the compiler rejects modules in many ways; in each case trace instead
        return None


def _traced(module: GraphModule) -> bytes:
    inputs = example_inputs(module)
    try:
        return _saved(lambda: torch.jit.trace(module, inputs, check_trace=False))  # type: ignore[no-untyped-call]
    except Exception as error:
        raise GraphError(describe(module), "TorchScript", str(error)) from error


def _saved(build: Callable[[], Any]) -> bytes:
    buffer = io.BytesIO()
    with _fresh_names(), _ordered_sets():
        torch.jit.save(build(), buffer)
    return buffer.getvalue()


_OVERLOADS = dict(_jit_internal._overloaded_fns)

_TABLES: dict[ModuleType, dict[str, Callable[[], Any]]] = {
    _state: {
        "_python_cu": torch._C.CompilationUnit,
        "_jit_caching_layer": weakref.WeakKeyDictionary,
        "_jit_function_overload_caching": weakref.WeakKeyDictionary,
        "_script_classes": dict,
        "_name_to_pyclass": dict,
    },
    _recursive: {"concrete_type_store": _recursive.ConcreteTypeStore},
    # Overloads are removed once compiled, hence the copy of the initial state.
    _jit_internal: {"_overloaded_fns": _OVERLOADS.copy},
}
"""The compiler's caches of what this process has compiled, with an empty value for each."""


@contextlib.contextmanager
def _fresh_names() -> Iterator[None]:
    """Give the compiler empty caches, and restore its own afterwards.

    Names of types are written into the file, and a name that this process has compiled before gets a number appended:
    without this, the bytes would depend on earlier exports.
    """
    kept = {home: {name: getattr(home, name) for name in parts} for home, parts in _TABLES.items()}
    for home, parts in _TABLES.items():
        for name, empty in parts.items():
            setattr(home, name, empty())
    try:
        yield
    finally:
        for home, values in kept.items():
            for name, value in values.items():
                setattr(home, name, value)


class _OrderedSet(set[Any]):
    """A set with an iteration order that does not depend on the process's hash seed."""

    def __iter__(self) -> Iterator[Any]:
        return iter(sorted(super().__iter__(), key=str))


@contextlib.contextmanager
def _ordered_sets() -> Iterator[None]:
    """Let the compiler iterate over its sets of names in order: it writes a layer's constants in that order."""
    module: Any = _recursive
    module.set = _OrderedSet
    try:
        yield
    finally:
        del module.set


def _normalised(archive: bytes) -> bytes:
    """Repack the entries in name order with a fixed time, without those that identify this machine."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(buffer, "w") as target:
        for name in sorted(source.namelist()):
            if not _DROPPED.search(name):
                target.writestr(_entry(name), source.read(name))
    return buffer.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=_EPOCH)
    entry.create_system = 3
    entry.external_attr = 0o644 << 16
    return entry
