"""Make OpenAI's package `clip`, which pyiqa imports, importable beside a setuptools without `pkg_resources`."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from types import ModuleType

from scoreguard_export.libraries import library
from scoreguard_export.metrics.pyiqa.stand_ins import EXTRA


@cache
def importable_clip() -> None:
    """Import `clip` once; its one line on `pkg_resources`, gone from setuptools 82 on, finds what it asks for.

    Raises:
        MissingExtraError: it is not installed.
    """
    if importlib.util.find_spec("pkg_resources") is not None:
        library("clip", EXTRA, "pyiqa")
        return
    stand_in = ModuleType("pkg_resources")
    vars(stand_in)["packaging"] = library("packaging", EXTRA, "pyiqa")
    library("packaging.version", EXTRA, "pyiqa")
    sys.modules[stand_in.__name__] = stand_in
    try:
        library("clip", EXTRA, "pyiqa")
    finally:
        del sys.modules[stand_in.__name__]
