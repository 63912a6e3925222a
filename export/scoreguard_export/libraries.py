"""Architectures of maintained, optional libraries: each is imported when something that uses it is first built."""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType

from scoreguard.support.torchvision import torchvision_operators
from scoreguard_export.errors import MissingExtraError


def library(module: str, extra: str, user: str) -> ModuleType:
    """Import a module of an optional library.

    Args:
        module: Its full name.
        extra: The package extra that installs it.
        user: The metric or defence that needs it, for the message.

    Raises:
        MissingExtraError: the module, or something that it imports, is not installed.
    """
    torchvision_operators()  # each of the libraries is torchvision, or imports it if it is installed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's own import warnings are irrelevant here
            return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(user, extra, str(error)) from error
