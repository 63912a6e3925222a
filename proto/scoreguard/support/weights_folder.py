"""The folder of the weights that a user fetched: one for every command that reads weights of others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

FOLDER_VARIABLE: Final = "SCOREGUARD_WEIGHTS"
"""Environment variable that names the folder."""


def weights_folder() -> Path:
    """Return the folder of fetched weights: $SCOREGUARD_WEIGHTS, or `weights` in the platform's user data folder.

    Raises:
        ImportError: the variable is not set, and platformdirs is not installed.
    """
    if given := os.environ.get(FOLDER_VARIABLE):
        return Path(given)
    # Imported here: this module belongs to the base install, platformdirs to the extras that read weights.
    import platformdirs

    return platformdirs.user_data_path("scoreguard", appauthor=False) / "weights"
