"""The page on campaigns: its plan runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
import yaml

from scoreguard.v1.spec import parse_chains
from scoreguard_client.attacks.catalogue import parse_attacks
from scoreguard_client.commands._plan_file import as_text
from scoreguard_client.commands.attack import command

PAGE = Path(__file__).resolve().parents[3] / "docs" / "campaigns.md"


@pytest.fixture
def plan() -> dict[str, object]:
    """The YAML block of the page."""
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (block,) = blocks
    loaded: dict[str, object] = yaml.safe_load(block)
    return loaded


def test_the_plan_of_the_page_means_what_the_page_says(plan: dict[str, object]) -> None:
    """Every key is an option, and every attack and chain can be read."""
    assert set(plan) <= {option.name for option in command.params if isinstance(option, click.Option)}
    names = [attack.name for attack in parse_attacks(as_text(plan["attacks"]))]
    assert names == ["fgsm", "ifgsm", "square"]
    chains = [[step.name for step in chain] for chain in parse_chains(as_text(plan["defences"]))]
    assert chains == [[], ["jpeg"], ["blur", "jpeg"]]
