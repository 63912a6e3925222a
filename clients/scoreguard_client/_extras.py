"""Libraries that only parts of the client need, imported where they are used."""

from __future__ import annotations

import importlib
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


def require_pyarrow() -> Any:
    """Import and return pyarrow, with its Parquet files.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise MissingExtraError("a table as Parquet", "dataset", "pyarrow") from error


def require_ray() -> Any:
    """Import and return Ray.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise MissingExtraError("--runner ray", "ray", "ray") from error
