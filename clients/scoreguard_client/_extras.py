"""Libraries that only parts of the client need, imported where they are used."""

from __future__ import annotations

from typing import Any

from scoreguard_client._exceptions import MissingExtraError


def require_torch(purpose: str) -> Any:
    """Import and return torch.

    Raises:
        MissingExtraError: torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(purpose, "attacks", "torch") from error
    return torch


def require_piq(purpose: str) -> Any:
    """Import and return piq, for full-reference measures.

    Raises:
        MissingExtraError: piq, or torchvision which it imports, is not installed.
    """
    try:
        from scoreguard.support.piq import import_piq

        return import_piq()
    except ImportError as error:
        raise MissingExtraError(purpose, "attacks", "piq") from error
