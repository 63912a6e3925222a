"""How an error message echoes a value: short, on one line, printable everywhere."""

from __future__ import annotations

from typing import Final

LIMIT: Final = 80
PATH_LIMIT: Final = 120
_MORE: Final = "…"


def shown(value: object, limit: int = LIMIT) -> str:
    """Return the value as text of at most `limit` characters, without quotes; `…` marks what was left out.

    Line breaks, control characters and lone surrogates (file names that are not UTF-8) are escaped as in a Python
    literal, so the message stays on one line and can be encoded. Only the beginning of long text and bytes is examined.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        text, is_cut = bytes(value[: limit + 1]).decode("latin-1"), False
    else:
        text = value if isinstance(value, str) else str(value)
        text, is_cut = text[: limit + 1], len(text) > limit
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return escaped if len(escaped) <= limit and not is_cut else escaped[: limit - len(_MORE)] + _MORE


def shown_path(path: object) -> str:
    """Return a user's path as text of at most `PATH_LIMIT` characters, cut at the front: the name is at the end."""
    text = str(path)
    escaped = shown(text[-PATH_LIMIT:], PATH_LIMIT * len("\\U0010ffff"))
    if len(text) <= PATH_LIMIT and len(escaped) <= PATH_LIMIT:
        return escaped
    return _MORE + escaped[len(_MORE) - PATH_LIMIT :]


def path_text(path: str) -> str:
    """Return a file's path as text that can be encoded: bytes that are not UTF-8 are written as backslash escapes."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
