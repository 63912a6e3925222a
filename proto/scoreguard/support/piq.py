"""Lets `piq` be imported, which imports torchvision for its feature extractors; nothing here uses those."""

from __future__ import annotations

import importlib
import warnings
from functools import cache
from types import ModuleType

from scoreguard.support.torchvision import torchvision_operators


@cache
def import_piq() -> ModuleType:
    """The `piq` module, whichever build of torchvision is installed.

    Raises:
        ImportError: piq or torchvision is not installed.
    """
    torchvision_operators()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # neither package's own import warnings concern us
        return importlib.import_module("piq")
