"""The table of errors in the documentation is what the server sends and what the client raises."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from google.rpc import code_pb2

from scoreguard_client import _exceptions
from scoreguard_handlers import errors

PAGE = Path(__file__).resolve().parents[1] / "docs" / "operations.md"
ROWS = re.findall(r"^\| ([A-Z_]+) \| (?:`([A-Z_]+)`)? ?\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)


def test_every_error_of_the_server_has_its_row() -> None:
    """Code and reason of each class, and no reason that no class has."""
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.ServingError)]
    sent = {(code_pb2.Code.Name(kind.code), kind.reason) for kind in classes if kind is not errors.ServingError}
    assert {(code, reason) for code, reason, _ in ROWS if reason} == sent


def test_the_client_raises_what_the_table_says() -> None:
    """By the code alone; a class that the table does not name stands for a code that this server never sends."""
    assert ROWS
    for code, _, exception in ROWS:
        assert _exceptions.BY_CODE[code_pb2.Code.Value(code)].__name__ == exception, code
