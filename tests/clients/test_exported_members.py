"""The public face of the client library."""

from __future__ import annotations

import inspect
import typing
from typing import Any

import pytest

import scoreguard_client
from scoreguard_client import ScoreguardError
from scoreguard_client import _exceptions as exceptions
from scoreguard_client._base import BaseClient

pytestmark = pytest.mark.base

PUBLIC = [(name, getattr(scoreguard_client, name)) for name in scoreguard_client.__all__]
CLASSES = [(name, member) for name, member in PUBLIC if inspect.isclass(member)]


def test_all_is_sorted_and_complete() -> None:
    """Every class and function that the package's face shows is listed once, in order."""
    listed = scoreguard_client.__all__
    assert listed == sorted(set(listed))
    shown = {
        name
        for name, member in vars(scoreguard_client).items()
        if not name.startswith("_") and (inspect.isclass(member) or inspect.isfunction(member))
    } - {"BaseClient"}
    assert shown <= set(listed)


def test_every_exception_is_public_and_drawn_in_the_tree() -> None:
    """A user can catch whatever the package raises, and read how it is related."""
    for name, member in vars(exceptions).items():
        # What is imported from the contracts is not raised by itself.
        if inspect.isclass(member) and issubclass(member, Exception) and name != "PicklableError":
            assert name in scoreguard_client.__all__
            assert issubclass(member, ScoreguardError)
            assert name in (exceptions.__doc__ or "")


@pytest.mark.parametrize(("name", "member"), CLASSES)
def test_every_public_class_says_what_it_is(name: str, member: Any) -> None:
    """Each has a docstring of its own."""
    assert (vars(member).get("__doc__") or "").strip()


@pytest.mark.parametrize(("name", "member"), [row for row in CLASSES if issubclass(row[1], (Exception, BaseClient))])
def test_tracebacks_show_the_name_that_users_import(name: str, member: Any) -> None:
    """`scoreguard_client.NotFoundError`, not a private module."""
    assert f"{member.__module__}.{member.__qualname__}" == f"scoreguard_client.{name}"


@pytest.mark.parametrize(("name", "member"), CLASSES)
def test_no_public_signature_mentions_grpc_or_protobuf(name: str, member: Any) -> None:
    """Users handle arrays, numbers and dataclasses only; `to_message` and `from_message` are for the codecs."""
    hidden = {"to_message", "from_message"}
    functions = [
        function
        for attribute, function in inspect.getmembers(member, inspect.isfunction)
        if (not attribute.startswith("_") or attribute == "__init__") and attribute not in hidden
    ]
    hints = [typing.get_type_hints(thing) for thing in [*functions, member]]
    annotations = [str(hint) for group in hints for hint in group.values()]
    assert annotations or issubclass(member, Exception)
    assert not [text for text in annotations if "pb2" in text or "grpc" in text]
