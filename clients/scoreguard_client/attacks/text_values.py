"""Text values inside an attack's text form, where `:` separates parameters and `,` separates attacks.

Both are written as in addresses, `%3A` and `%2C`, and a `%` that would then be misread as `%25`; anything else stays as
it is. So a path may have any name, and one without these marks reads as it always did.
"""

from __future__ import annotations

import re
from typing import Final

_ESCAPES: Final = str.maketrans({":": "%3A", ",": "%2C"})
_ESCAPED: Final = re.compile("%(25|2C|3A)", re.IGNORECASE)


def escaped(value: str) -> str:
    """A value as it stands in an attack's text."""
    safe = _ESCAPED.sub(lambda match: f"%25{match[1]}", value)
    return safe.translate(_ESCAPES)


def unescaped(text: str) -> str:
    """The value that `escaped` wrote."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
