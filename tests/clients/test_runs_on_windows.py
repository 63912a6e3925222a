"""The client names nothing that only POSIX systems have, at import or later."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for root in ("clients", "proto") for path in (ROOT / root).rglob("*.py"))
POSIX_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "termios", "tty", "uvloop"}
POSIX_NAMES = {
    "signal": {"SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGQUIT", "alarm", "pause", "setitimer"},
    "os": {
        "fork",
        "getuid",
        "geteuid",
        "getgid",
        "getpgid",
        "killpg",
        "mkfifo",
        "setsid",
        "uname",
        "chown",
        "O_DIRECTORY",
    },
}


def posix_only(tree: ast.AST) -> Iterator[str]:
    """What a module uses that Windows lacks."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in POSIX_MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in POSIX_MODULES:
            yield node.module
        elif isinstance(node, ast.Attribute) and node.attr == "add_signal_handler":
            yield node.attr
        elif isinstance(node, ast.Attribute) and node.attr in POSIX_NAMES.get(_name(node.value), ()):
            yield f"{_name(node.value)}.{node.attr}"


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_of_the_client_needs_no_posix(path: Path) -> None:
    """The client runs on Windows; the server says that it does not."""
    assert not list(posix_only(ast.parse(path.read_text(encoding="utf-8"))))


def test_the_check_sees_what_it_looks_for() -> None:
    """Else it could never fail."""
    tree = ast.parse("import os, signal, fcntl\nos.kill(1, signal.SIGKILL)\nloop.add_signal_handler(2, print)")
    assert sorted(posix_only(tree)) == ["add_signal_handler", "fcntl", "signal.SIGKILL"]
