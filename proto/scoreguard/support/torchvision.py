"""Make libraries that import torchvision importable with a torch build that its compiled operators do not match.

They import it for parts that nothing here uses. PyPI's torchvision is a CUDA build: with a CPU-only torch its
compiled operators do not load, and its Python part then fails at import while it registers a fake kernel for
`torchvision::nms`. Declaring the two operators first is all that the import needs.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


@cache
def torchvision_operators() -> None:
    """Make `import torchvision` work with any build of it; do nothing if its operators load."""
    if not _operators_load():
        _declare_operators()


def _operators_load() -> bool:
    """Whether torchvision's own compiled operators match the installed torch."""
    spec = importlib.util.find_spec("torchvision")
    folders = (spec.submodule_search_locations if spec else None) or []
    libraries = [path for folder in folders for path in Path(folder).glob("_C*.*")]
    try:
        for path in libraries:
            torch.ops.load_library(str(path))  # type: ignore[no-untyped-call]
    except (OSError, RuntimeError):
        return False
    return bool(libraries)


@cache
def _declare_operators() -> torch.library.Library:
    """Declare the operators; the cache keeps the library object alive, since the declarations end with it."""
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    return library
