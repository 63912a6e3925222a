"""Architectures of maintained, optional libraries: each is imported when a defence that uses it is first built."""

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
        extra: The package extra that installs it.
        defence: What needs it, for the message.

    Raises:
        MissingExtraError: the module, or something that it imports, is not installed.
    """
    torchvision_operators()  # both libraries import torchvision if it is installed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's own import warnings are irrelevant here
            return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(defence, extra, str(error)) from error
