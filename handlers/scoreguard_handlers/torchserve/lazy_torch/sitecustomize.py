"""Make `import torch` lazy in TorchServe's workers: on their PYTHONPATH, it loads nothing until torch is used.

TorchServe's worker imports torch for one `isinstance` that our handler never reaches, and torch costs more memory than
the rest of the worker. Code that uses an attribute of it (as the gradient engine does) gets the real module.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType


class LazyTorchFinder(MetaPathFinder):
    """Finds `torch` as usual, but defers executing it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the usual spec of `torch` with a lazy loader; None for every other module."""
        if fullname != "torch":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


sys.meta_path.insert(0, LazyTorchFinder())
