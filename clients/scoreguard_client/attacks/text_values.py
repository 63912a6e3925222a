"""Text values inside an attack's text form, where `:` separates parameters and `,` separates attacks.

Both are percent-encoded as in URLs, `%3A` and `%2C`, and so is a `%` that would otherwise be misread, as `%25`; all
else is unchanged. So a path may have any name, and one without these characters is written literally.
"""

from __future__ import annotations

import re
from typing import Final

_ESCAPES: Final = str.maketrans({":": "%3A", ",": "%2C"})
_ESCAPED: Final = re.compile("%(25|2C|3A)", re.IGNORECASE)


def escaped(value: str) -> str:
    """Encode a value for an attack's text."""
    safe = _ESCAPED.sub(lambda match: f"%25{match[1]}", value)
    return safe.translate(_ESCAPES)


def unescaped(text: str) -> str:
    """Decode a value that `escaped` wrote."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
