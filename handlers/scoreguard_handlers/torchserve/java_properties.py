"""Text of Java's `.properties` files, where a backslash, a leading blank and every non-ASCII character need an escape.

Java reads such a file as Latin-1, so that an unescaped path with an umlaut names another folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_ESCAPES: Final = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f"}


def render_properties(values: Mapping[str, object]) -> str:
    """One `key=value` line for each entry; keys are plain names of our own."""
    return "".join(f"{key}={escape_value(str(value))}\n" for key, value in values.items())


def escape_value(value: str) -> str:
    """A value as Java reads it back: `#`, `!`, `:`, `=` and `%` mean nothing there."""
    escaped = "".join(_escape(character) for character in value)
    return f"\\{escaped}" if escaped.startswith(" ") else escaped


def _escape(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if " " <= character <= "~":
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
