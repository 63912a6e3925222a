"""The configuration as a file: every field is a key, the command line wins, and what is wrong is one line."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from scoreguard_handlers.cli import command, config_from, main
from scoreguard_handlers.config import ServeConfig
from scoreguard_handlers.config_file import Knob, build, knobs, read_file
from scoreguard_handlers.errors import StartupError
from scoreguard_handlers.options import ConfigOption

PAGE = Path(__file__).resolve().parents[2] / "docs"


def configured(tmp_path: Path, text: str, *options: str) -> ServeConfig:
    """The configuration of a file and some options."""
    (tmp_path / "service.yaml").write_text(text)
    arguments = ["--config", str(tmp_path / "service.yaml"), "--model-store", str(tmp_path), *options]
    with click.Context(command) as context:
        command.parse_args(context, arguments)
        return config_from(context)


def test_every_field_is_a_key(tmp_path: Path) -> None:
    """What a file sets to other values than the defaults, section by section, is what runs."""
    values = {knob.key: _other(knob) for knob in knobs() if knob.key != "model_store"}
    values |= {f"security.tls_{name}": Path("x.pem") for name in ("key", "cert", "client_ca")}
    sections: dict[str, list[str]] = {}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        sections.setdefault(section, []).append(f"{name}: {str(value).lower() if isinstance(value, bool) else value}")
    text = "\n".join(sections.pop("")) + "".join(
        f"\n{section}:\n  " + "\n  ".join(lines) for section, lines in sections.items()
    )
    config = configured(tmp_path, text)
    for key, value in values.items():
        expected = tmp_path / value if isinstance(value, Path) else value
        assert _value_of(config, key) == expected, key


def _other(knob: Knob) -> Any:
    if knob.choices:
        return next(choice for choice in knob.choices if choice != knob.default)
    others = {bool: not knob.default, Path: Path("some.file"), str: "127.0.0.1"}
    return others[knob.kind] if knob.kind in others else (knob.default or 0) + 1


def _value_of(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = getattr(config, name)
    return config


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    """An option that is given replaces the file's value; one that is left out does not."""
    config = configured(tmp_path, "port: 7\nworkers: 3\nadmission:\n  window: 5\n", "--port", "9", "--queue", "11")
    assert (config.port, config.workers) == (9, 3)
    assert (config.admission.window, config.admission.queue_limit) == (5, 11)


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    """Nothing but the store."""
    assert configured(tmp_path, "# nothing\n") == ServeConfig(model_store=tmp_path)


def test_defaults_are_typed_once(tmp_path: Path) -> None:
    """The options' defaults, as help shows them, are the fields' own."""
    assert configured(tmp_path, "") == build({"model_store": tmp_path})


WRONG = {
    "unknown key": ("wrokers: 2", "unknown key wrokers: did you mean workers"),
    "unknown key of a section": ("admission:\n  queue_limt: 2", "did you mean admission.queue_limit"),
    "nothing like it": ("xyzzy: 2", "docs/operations.md lists the keys"),
    "text for a number": ("workers: many", "workers must be a whole number, not many"),
    "a truth for a number": ("workers: true", "workers must be a whole number, not True"),
    "out of range": ("workers: 0", "workers must be at least 1, not 0"),
    "zero seconds": ("health:\n  period_seconds: 0", "health.period_seconds must be above 0, not 0"),
    "too high": ("port: 70000", "port must be at least 0 and at most 65535"),
    "no such choice": ("backend: triton", "backend must be one of torchserve, local, not triton"),
    "a number for a truth": ("gradients: 1", "gradients must be true or false, not 1"),
    "a section as a value": ("health: 5", "health is a section"),
    "a list": ("- workers", "must hold keys and values"),
    "no YAML": ("workers: [", "is not YAML"),
    "a long key": ("x" * 500 + ": 1", "unknown key xxx"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_in_a_file_is_one_line(tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, the file, the key and what is allowed."""
    text, problem = WRONG[case]
    (tmp_path / "service.yaml").write_text(text)
    assert main(["--config", str(tmp_path / "service.yaml"), "--model-store", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and len(error) < 600
    assert problem in error and "service.yaml" in error


def test_a_file_that_is_not_text_is_one_line(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, and a folder."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "binary", tmp_path):
        with pytest.raises(StartupError, match="cannot read"):
            read_file(path)


def test_a_store_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    """On the command line or in the file."""
    assert main([]) == 2
    assert "give --model-store" in capsys.readouterr().err


def test_the_pages_list_every_key_of_the_file() -> None:
    """Each field of the configuration has its row in docs/operations.md, each limit of callers in docs/limits.md."""
    text = (PAGE / "operations.md").read_text() + (PAGE / "limits.md").read_text()
    assert [knob.key for knob in knobs() if f"| `{knob.key}` |" not in text] == []


def test_the_page_lists_every_option() -> None:
    """Each option that sets a field stands beside its key, and no other."""
    rows = dict(
        re.findall(r"^\| `([\w.]+)` \| (?:`(--[\w-]+)`)? *\|", (PAGE / "operations.md").read_text(), re.MULTILINE)
    )
    options = {each.key: each.opts + each.secondary_opts for each in command.params if isinstance(each, ConfigOption)}
    assert {key: flag for key, flag in rows.items() if flag} == {
        key: next(flag for flag in flags if flag in {rows.get(key), flags[-1]}) for key, flags in options.items()
    }


def test_the_example_of_the_page_can_be_read(tmp_path: Path) -> None:
    """The YAML of docs/operations.md is a configuration."""
    example = re.findall(r"```yaml\n(model_store.*?)```", (PAGE / "operations.md").read_text(), re.DOTALL)[0]
    config = configured(tmp_path, example)
    assert (config.workers, config.drain_seconds, config.health.stall_seconds) == (2, 5, 5)
    assert config.security.tokens_file == tmp_path / "tokens"


def test_sections_are_one_level_deep() -> None:
    """The loader relies on it."""
    for field in fields(ServeConfig):
        section = field.default_factory() if callable(field.default_factory) else None
        if is_dataclass(section):
            assert not any(is_dataclass(getattr(section, inner.name)) for inner in fields(section))


def test_what_only_tests_may_turn_off_is_no_key_of_the_file(tmp_path: Path) -> None:
    """A file cannot make the server take archives with another handler."""
    path = tmp_path / "service.yaml"
    path.write_text("model_store: store\ntorchserve:\n  any_handler: true\n")
    with pytest.raises(StartupError, match="unknown key"):
        read_file(path)
