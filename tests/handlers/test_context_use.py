"""Who may look at a gRPC call's context: only what runs first, since a call that has ended is freed."""

from __future__ import annotations

import ast
from pathlib import Path

import scoreguard_handlers

FREED = {"peer", "invocation_metadata", "time_remaining", "auth_context", "peer_identities"}
READERS = {"Caller.of", "_Call.of", "refused"}
"""Each of them runs before anything is awaited."""


def reading(path: Path) -> set[str]:
    """The functions of a module that ask a context for what is freed with its call."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    owners = {child: node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for child in node.body}
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        asked = {node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute) and _of_context(node)}
        if asked & FREED:
            found.add(f"{owners[function]}.{function.name}" if function in owners else function.name)
    return found


def _of_context(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id == "context"


def test_the_context_of_a_call_is_read_at_its_start_alone() -> None:
    """Work that outlives its call would end the process: gRPC frees what `peer` looks at."""
    folder = Path(scoreguard_handlers.__file__).parent
    found = set().union(*(reading(path) for path in folder.rglob("*.py")))
    # The interceptor's own method holds `refused`.
    assert found - {"TokenInterceptor.intercept_service"} == READERS
