"""The three files of an archive that TorchServe reads: the same for every archive except for the metric's name.

TorchServe runs the handler file with its own rights before any code of this project runs, so an archive may contain
only the one that this version writes.
"""

from __future__ import annotations

import json
from typing import Final

from scoreguard.v1.torchserve import RESPONSE_SECONDS, STARTUP_SECONDS

HANDLER_NAME: Final = "defended_score.py"
CONFIG_NAME: Final = "model-config.yaml"
DESCRIPTION_NAME: Final = "MAR-INF/MANIFEST.json"
NAMES: Final = frozenset({HANDLER_NAME, CONFIG_NAME, DESCRIPTION_NAME})
"""The files of an archive in addition to those of its manifest."""
_VERSION: Final = "1.0"

_HANDLER: Final = '''"""TorchServe imports this file by its stem; everything it does lives in the installed package."""

from scoreguard_handlers.torchserve import entry as torchserve_entry


class DefendedScore(torchserve_entry.DefendedScoreHandler):
    """The one class that TorchServe looks for."""
'''
# One image per call: the gateway batches, and unrelated requests must not fail together.
_CONFIG: Final = (
    f"batchSize: 1\nmaxBatchDelay: 1\nresponseTimeout: {RESPONSE_SECONDS}\nstartupTimeout: {STARTUP_SECONDS}\n"
)


def torchserve_files(metric: str) -> dict[str, bytes]:
    """Return the three files of a metric's archive, by their path in it."""
    model = {"modelName": metric, "handler": HANDLER_NAME, "modelVersion": _VERSION, "configFile": CONFIG_NAME}
    description = {"createdOn": "01/01/1980 00:00:00", "runtime": "python", "model": model, "archiverVersion": "0.12.0"}
    return {
        DESCRIPTION_NAME: json.dumps(description, indent=2, sort_keys=True).encode(),
        HANDLER_NAME: _HANDLER.encode(),
        CONFIG_NAME: _CONFIG.encode(),
    }
