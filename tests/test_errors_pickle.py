"""Errors of every tree come out of another process as they went in."""

from __future__ import annotations

import importlib
import pickle
import pkgutil
from collections.abc import Iterator

import pytest

import scoreguard
import scoreguard_client
import scoreguard_export
import scoreguard_handlers
from scoreguard.support.picklable import PicklableError
from scoreguard.v1.errors import ParameterError
from scoreguard_client import NotFoundError

PACKAGES = (scoreguard, scoreguard_client, scoreguard_export, scoreguard_handlers)


def error_classes() -> Iterator[type[Exception]]:
    """Every error class of the four packages."""
    for package in PACKAGES:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("errors") and not module.name.endswith("_exceptions"):
                continue
            found = vars(importlib.import_module(module.name)).values()
            yield from (kind for kind in found if isinstance(kind, type) and issubclass(kind, Exception))


OWN = sorted({kind for kind in error_classes() if kind.__module__.startswith("scoreguard")}, key=str)


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_an_error_survives_pickling(kind: type[Exception]) -> None:
    """Its class, its message and what it carries, whatever its constructor asks for."""
    assert issubclass(kind, PicklableError)
    error = kind.__new__(kind, "one line")
    error.__dict__.update(code="NOT_FOUND", known=("a", "b"))
    restored = pickle.loads(pickle.dumps(error))
    assert (type(restored), restored.args, restored.__dict__) == (kind, ("one line",), error.__dict__)


@pytest.mark.parametrize(
    "error",
    [
        ParameterError("jpeg", "quality", "too large"),
        NotFoundError("no metric", field="metric", metadata={"near": "a"}),
    ],
    ids=str,
)
def test_a_real_one_keeps_its_message_and_fields(error: Exception) -> None:
    """As it is raised."""
    restored = pickle.loads(pickle.dumps(error))
    assert (str(restored), vars(restored)) == (str(error), vars(error))
