"""What `train` does where an option is left out is what its configuration does where a field is."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path

import click
import pytest

from scoreguard_export.commands import train
from scoreguard_export.training.config import TrainingConfig
from scoreguard_export.training.diffusion import DiffusionConfig
from scoreguard_export.training.fcn_filter import FilterConfig

COMMANDS: dict[str, tuple[click.Command, type, list[str]]] = {
    "lite": (train.lite, TrainingConfig, []),
    "fcn-filter": (train.fcn_filter, FilterConfig, ["--attacked"]),
    "diffusion": (train.diffusion, DiffusionConfig, []),
}
NOT_OFFERED = {"checkpoint"}
"""Fields that follow from `--work` on the command line."""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_training_has_the_defaults_of_its_configuration(name: str, tmp_path: Path) -> None:
    """Every option that the configuration gives a default to has the same one."""
    command, config, required = COMMANDS[name]
    read = command.make_context(name, [part for option in required for part in (option, str(tmp_path))]).params
    defaults = {
        field.name: getattr(field.default, "name", field.default)  # a device by its name
        for field in fields(config)
        if field.default is not MISSING and field.name not in NOT_OFFERED
    }
    assert {key: read[key] for key in defaults} == defaults
