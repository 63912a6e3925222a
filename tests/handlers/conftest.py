"""The archive of every defence, loaded once for the tests that ask it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scoreguard.v1.archive import Archive

if TYPE_CHECKING:
    from served import Served


@pytest.fixture(scope="session")
def served(lite_store: Path) -> Served:
    """A worker on the archive of every defence."""
    from served import Served, weights_beside

    return Served.load(Archive(lite_store / "lite.mar"), weights_beside(lite_store))
