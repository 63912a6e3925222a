"""Errors that survive the transfer from another process unchanged.

Python restores an error by calling its class with its message alone, which fails for a class that takes more arguments.
"""

from __future__ import annotations

from typing import Any


class PicklableError(Exception):
    """An error that is restored from its message and its attributes, without its constructor."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[BaseException], args: tuple[object, ...], attributes: dict[str, object]) -> BaseException:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error
