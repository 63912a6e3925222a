"""What the command line does where an option is left out is what the library does where an argument is."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import click
import pytest

from scoreguard_client.campaign import CampaignOptions
from scoreguard_client.challenge import ChallengeOptions
from scoreguard_client.commands import attack, challenge, dataset, showcase, uap
from scoreguard_client.commands.report import make as report
from scoreguard_client.dataset import DatasetOptions
from scoreguard_client.report import TableOptions
from scoreguard_client.showcase import ShowcaseOptions
from scoreguard_client.universal.launch import TrainingOptions

COMMANDS: dict[str, tuple[click.Command, type, list[str]]] = {
    "attack": (attack.command, CampaignOptions, ["--images", "photos", "--out", "run"]),
    "challenge": (challenge.command, ChallengeOptions, ["run", "images"]),
    "dataset": (dataset.command, DatasetOptions, ["run", "--out", "set"]),
    "showcase": (showcase.command, ShowcaseOptions, ["photo.png", "--out", "page.html"]),
    "uap train": (uap.train_command, TrainingOptions, ["--kind", "momentum", "--images", "photos", "--out", "u"]),
    "report": (report.command, TableOptions, ["run"]),
}


RENAMED = {"batch": "device_batch"}
"""Fields of options within options, whose names would otherwise be taken."""


def defaults_of(options: type) -> dict[str, Any]:
    """The fields of a dataclass that may be left out, with their values; options within options one by one."""
    found: dict[str, Any] = {}
    for field in fields(options):
        if is_dataclass(field.default):
            found |= {RENAMED.get(each.name, each.name): each.default for each in fields(field.default)}
        elif field.default is not MISSING:
            found[field.name] = field.default
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_the_defaults_of_the_library(name: str) -> None:
    """Every option that the dataclass gives a default to has the same one, after its text was read."""
    command, options, required = COMMANDS[name]
    read = command.make_context(name, [*required]).params
    assert {key: read[key] for key in defaults_of(options)} == defaults_of(options)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_states_the_defaults(name: str) -> None:
    """Each number that is not zero and each text, as the dataclass has it."""
    command, options, _ = COMMANDS[name]
    text = command.get_help(click.Context(command, info_name=name, terminal_width=1000, max_content_width=1000))
    shown = [value for value in defaults_of(options).values() if value and not isinstance(value, bool)]
    assert not [value for value in shown if f"default: {value}" not in text]
