"""The fixed limits of one request, each with its reason.

Above a limit, the server answers INVALID_ARGUMENT with both numbers, before it examines the contents. The client splits
its batches by these limits. Limits that an operator may change are options of `scoreguard-serve`; docs/limits.md lists
both kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class RequestLimits:
    """The most that a legitimate request holds, with room to spare."""

    batch_items: int = 1024
    """Items of one batch call: each costs a task and an answer, even a small one."""
    steps: int = 256
    """Steps of one chain: each is work for a shared machine."""
    parameters: int = 64
    """Parameters of one step: no defence has as many as ten."""
    name_characters: int = 128
    """Length of the name of a metric, a defence or a parameter: names are compared, logged and echoed."""
    request_id_characters: int = 256
    """Length of a caller's `request_id`: it is logged and returned."""
    tensor_dimensions: int = 8
    """Length of a tensor's shape: an image has three dimensions."""
    request_bytes: int = 64 << 10
    """Bytes of one request apart from its image: as objects they take up to 70 times the memory."""
    batch_bytes: int = 1 << 20
    """Bytes of one batch apart from its images, for the same reason."""
    field_bytes: int = 16
    """Bytes that each field adds to its own in the two sums above: an empty field takes memory and time as well."""


LIMITS: Final = RequestLimits()
"""The limits of this version."""
