"""Stand in for functions of other libraries for a while, and put them back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def replaced(owner: object, **values: Any) -> Iterator[None]:
    """Set attributes of a module, a class or an object, and restore them in the end, whatever happens.

    Raises:
        AttributeError: the owner has no such attribute, hence is not what the caller takes it for.
    """
    before = {name: getattr(owner, name) for name in values}
    try:
        for name, value in values.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)
