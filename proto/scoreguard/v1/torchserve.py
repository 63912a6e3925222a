"""TorchServe settings that more than one part writes or relies on.

The exporter writes them for plain TorchServe, and the server for its own instance; archives hold some for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LOOPBACK: Final = "127.0.0.1"
RESPONSE_SECONDS: Final = 120
"""TorchServe kills a worker that is silent for this long; no deadline may be longer."""
STARTUP_SECONDS: Final = 120
"""Time limit for a worker to load its archive."""
EVERYWHERE: Final[Mapping[str, str]] = {
    "allowed_urls": "file://.*",
    "disable_system_metrics": "true",
    "install_py_dep_per_model": "false",
}
"""Keys of config.properties that are always the same: nothing is fetched, installed or measured."""


def addresses(inference: int, management: int, metrics: int) -> dict[str, str]:
    """Keys of config.properties for the addresses, on loopback only; gRPC's ports have separate keys."""
    return {
        "inference_address": f"http://{LOOPBACK}:{inference}",
        "management_address": f"http://{LOOPBACK}:{management}",
        "metrics_address": f"http://{LOOPBACK}:{metrics}",
        "grpc_inference_address": LOOPBACK,
        "grpc_management_address": LOOPBACK,
    }
