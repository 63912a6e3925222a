"""What an error message echoes of the thing that it was given: short, on one line, printable everywhere."""

from __future__ import annotations

from typing import Final

LIMIT: Final = 80
PATH_LIMIT: Final = 120
_MORE: Final = "…"


def shown(value: object, limit: int = LIMIT) -> str:
    """The value as text of at most `limit` characters, without quotes; `…` stands for what was left out.

    Line breaks, control characters and lone surrogates (file names that are not UTF-8) are escaped as in a Python
    literal, so that the message stays one line and can be encoded. Of long text and bytes only the beginning is looked
    at.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        text, is_cut = bytes(value[: limit + 1]).decode("latin-1"), False
    else:
        text = value if isinstance(value, str) else str(value)
        text, is_cut = text[: limit + 1], len(text) > limit
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return escaped if len(escaped) <= limit and not is_cut else escaped[: limit - len(_MORE)] + _MORE


def shown_path(path: object) -> str:
    """A path of the user's own as text of at most `PATH_LIMIT` characters, cut at its front: the name is at its end."""
    text = str(path)
    escaped = shown(text[-PATH_LIMIT:], PATH_LIMIT * len("\\U0010ffff"))
    if len(text) <= PATH_LIMIT and len(escaped) <= PATH_LIMIT:
        return escaped
    return _MORE + escaped[len(_MORE) - PATH_LIMIT :]


def path_text(path: str) -> str:
    """A file's path as text that can be encoded: bytes that are not UTF-8 are written as backslash escapes."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
