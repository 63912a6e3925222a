"""How much one request may hold: every fixed limit, with the reason for it.

The server refuses what is above them with INVALID_ARGUMENT and both numbers, before it looks at the contents; the
client splits its batches by them. Limits that an operator may change are options of `scoreguard-serve`;
docs/limits.md lists both kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class RequestLimits:
    """The most that a well-meaning request holds, with room to spare."""

    batch_items: int = 1024
    """Items of one batch call: each costs a task and an answer, however small it is."""
    steps: int = 256
    """Steps of one chain: each is work for a shared machine."""
    parameters: int = 64
    """Parameters of one step: no defence has ten."""
    name_characters: int = 128
    """Length of the name of a metric, a defence or a parameter: names are compared, logged and echoed."""
    request_id_characters: int = 256
    """Length of a caller's `request_id`: it is logged and sent back."""
    tensor_dimensions: int = 8
    """Length of a tensor's shape: an image has three dimensions."""
    request_bytes: int = 64 << 10
    """Bytes of one request apart from its image: as objects they take up to 70 times the memory."""
    batch_bytes: int = 1 << 20
    """Bytes of one batch apart from its images, for the same reason."""
    field_bytes: int = 16
    """What each field counts beside its own bytes in the two sums above: an empty one takes memory and time as well."""


LIMITS: Final = RequestLimits()
"""The limits of this version."""
