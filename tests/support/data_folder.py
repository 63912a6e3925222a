"""The folder of real images, weights and human scores that some tests read; they are skipped where it is absent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

VARIABLE: Final = "SCOREGUARD_DATA"
"""Environment variable that names the folder."""
BESIDE: Final = Path(__file__).resolve().parents[3] / "shared" / "data"
"""Where it is looked for otherwise: beside the checkout."""


def data_folder(environment: Mapping[str, str]) -> Path:
    """The folder of the environment, or the one beside the checkout, present or not.

    Raises:
        NotADirectoryError: the environment names something that is not a folder; skipping the tests would hide that.
    """
    named = environment.get(VARIABLE)
    if not named:
        return BESIDE
    folder = Path(named).resolve()
    if not folder.is_dir():
        raise NotADirectoryError(f"{VARIABLE}={named} is not a folder; unset it to skip the tests that need the data")
    return folder


DATA: Final = data_folder(os.environ)
WHY_SKIPPED: Final = f"the data folder is not here; {VARIABLE} names it"
