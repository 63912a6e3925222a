"""The page recomputes itself: the records that it embeds, the script that recomputes every cell, and the verifier."""

from __future__ import annotations

from scoreguard_client.report.proof.errors import PageError
from scoreguard_client.report.proof.payload import payload
from scoreguard_client.report.proof.script import script

__all__ = ["PageError", "payload", "script"]
