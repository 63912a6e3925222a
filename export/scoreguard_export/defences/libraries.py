"""Architectures of well-kept libraries, which are optional: each is imported when a defence is first built on it."""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType

from scoreguard.support.torchvision import torchvision_operators
from scoreguard_export.errors import MissingExtraError


def library(module: str, extra: str, defence: str) -> ModuleType:
    """Import a module of an optional library.

    Args:
        module: Its full name.
        extra: The part of the installation that brings it.
        defence: What needs it, for the message.

    Raises:
        MissingExtraError: it, or something that it imports, is not installed.
    """
    torchvision_operators()  # both libraries import torchvision where it is installed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's own import warnings do not concern us
            return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(defence, extra, str(error)) from error
