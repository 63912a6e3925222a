"""Full-reference measures from piq, to validate trained defences."""

from __future__ import annotations

from types import ModuleType

from scoreguard.support.piq import import_piq
from scoreguard_export.errors import TrainingError


def measures() -> ModuleType:
    """Return the `piq` module.

    Raises:
        TrainingError: piq or torchvision is not installed.
    """
    try:
        return import_piq()
    except ImportError as error:
        raise TrainingError("training needs piq and torchvision: pip install 'scoreguard[train]'") from error
