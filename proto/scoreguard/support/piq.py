"""Make `piq` importable: it imports torchvision for its feature extractors, which nothing here uses."""

from __future__ import annotations

import importlib
import warnings
from functools import cache
from types import ModuleType

from scoreguard.support.torchvision import torchvision_operators


@cache
def import_piq() -> ModuleType:
    """Return the `piq` module, with any build of torchvision.

    Raises:
        ImportError: piq or torchvision is not installed.
    """
    torchvision_operators()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # neither package's own import warnings concern us
        return importlib.import_module("piq")
