"""Environment variables as a configuration: `SCOREGUARD_PORT` sets `port`, `SCOREGUARD_LOG_FORMAT` `log.format`.

The service reads all of its fields this way, and TorchServe's workers read theirs, no matter who started TorchServe.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from scoreguard.support.shown import shown
from scoreguard_handlers.config import ServeConfig, WorkerConfig
from scoreguard_handlers.errors import StartupError
from scoreguard_handlers.knobs import knobs

PREFIX: Final = "SCOREGUARD_"


def variable(key: str) -> str:
    """Return the environment variable of a field."""
    return PREFIX + key.replace(".", "_").upper()


def read_environment(kind: type = ServeConfig, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the values that variables set, by key; an empty variable sets nothing.

    Args:
        kind: The configuration whose fields are read.
        environment: The variables.

    Raises:
        StartupError: a value is of the wrong kind or out of range.
    """
    values: dict[str, Any] = {}
    for knob in knobs(kind):
        name = variable(knob.key)
        if text := environment.get(name, ""):
            try:
                values[knob.key] = knob.parse(text)
            except ValueError as error:
                raise StartupError(f"the environment variable {name} {shown(str(error), 200)}") from error
    return values


def worker_config(environment: Mapping[str, str] = os.environ) -> WorkerConfig:
    """Return the configuration of a worker that TorchServe started.

    Raises:
        StartupError: a value is of the wrong kind or out of range.
    """
    return WorkerConfig(**read_environment(WorkerConfig, environment))


def worker_environment(config: WorkerConfig) -> dict[str, str]:
    """Return the variables from which `worker_config` reads this configuration."""
    return {variable(key): str(value) for key, value in asdict(config).items()}
