"""Java's `.properties` files, where backslashes, leading blanks and non-ASCII characters must be escaped.

Java reads such a file as Latin-1, so an unescaped path with an umlaut would name another folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_ESCAPES: Final = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f"}


def render_properties(values: Mapping[str, object]) -> str:
    """Return one `key=value` line for each entry; keys are plain names that we choose."""
    return "".join(f"{key}={escape_value(str(value))}\n" for key, value in values.items())


def escape_value(value: str) -> str:
    """Escape a value so that Java reads it back unchanged: `#`, `!`, `:`, `=` and `%` mean nothing there."""
    escaped = "".join(_escape(character) for character in value)
    return f"\\{escaped}" if escaped.startswith(" ") else escaped


def _escape(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if " " <= character <= "~":
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
