"""Where gradients come from: one rule for campaigns, showcases and trainings."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from tests.conftest import write_tiny_archive

from scoreguard_client.commands import attack, showcase, uap
from scoreguard_client.target.errors import PlanError
from scoreguard_client.target.gradients import Gradients, surrogate_for

LOCAL, LIVE = Gradients.LOCAL, Gradients.LIVE
COMMANDS = {"attack": attack.command, "showcase": showcase.command, "uap train": uap.train_command}


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a model store of its own, and another one elsewhere; both have `brightness`."""
    for place in ("here/model_store", "elsewhere"):
        (tmp_path / place).mkdir(parents=True)
        write_tiny_archive(tmp_path / place / "brightness.mar")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


@pytest.mark.parametrize(
    ("metric", "gradients", "given", "expected"),
    [
        ("brightness", None, None, "here/model_store"),
        ("brightness", LOCAL, None, "here/model_store"),
        ("brightness", None, "elsewhere", "elsewhere"),
        ("brightness", LOCAL, "elsewhere/brightness.mar", "elsewhere"),
        ("sharpness", None, None, "the server"),
        ("brightness", LIVE, None, "the server"),
        ("brightness", LIVE, "elsewhere", "the server"),
    ],
)
def test_gradients_come_from_where_the_user_says_or_else_from_an_archive_that_is_there(
    stores: Path, metric: str, gradients: Gradients | None, given: str | None, expected: str
) -> None:
    """What is given goes before the working directory's model store; without either the server is asked."""
    archive = surrogate_for(metric, gradients, None if given is None else stores / given)
    found = "the server" if archive is None else archive.path.resolve().parent.relative_to(stores).as_posix()
    assert found == expected


def test_local_gradients_without_an_archive_are_refused_with_what_to_give(stores: Path) -> None:
    """The server is not taken in their place."""
    with pytest.raises(PlanError, match=r"--gradients local needs --surrogate: no sharpness\.mar in \./model_store"):
        surrogate_for("sharpness", LOCAL, None)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_words_the_choice_alike(name: str) -> None:
    """Same options, same help."""

    def worded(command: click.Command) -> list[tuple[str, str | None]]:
        options = {param.name: param for param in command.params if isinstance(param, click.Option)}
        return [(option, options[option].help) for option in ("gradients", "surrogate")]

    assert worded(COMMANDS[name]) == worded(attack.command)
