"""The configuration as a file: every field is a key, the command line wins, and what is wrong is one line."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from scoreguard_handlers.cli import command, config_from, main
from scoreguard_handlers.config import ServeConfig, WorkerConfig
from scoreguard_handlers.config_file import build, read_file
from scoreguard_handlers.environment import read_environment, variable, worker_config, worker_environment
from scoreguard_handlers.errors import StartupError
from scoreguard_handlers.knobs import Knob, knobs
from scoreguard_handlers.options import ConfigOption

PAGE = Path(__file__).resolve().parents[2] / "docs"


def configured(tmp_path: Path, text: str, *options: str, name: str = "service.yaml") -> ServeConfig:
    """The configuration of a file and some options."""
    (tmp_path / name).write_text(text)
    arguments = ["--config", str(tmp_path / name), "--model-store", str(tmp_path), *options]
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
    "out of range": ("threads: 0", "threads must be at least 1, not 0"),
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
    connections = {key: options.pop(key) for key in [*options] if key.startswith("connections.")}
    assert "The option of `connections.held_bytes` is `--connections-held-bytes`" in (PAGE / "limits.md").read_text()
    assert {key: f"--{key.replace('.', '-').replace('_', '-')}" for key in connections} == {
        key: flags[0] for key, flags in connections.items()
    }
    assert {key: flag for key, flag in rows.items() if flag} == {
        key: next(flag for flag in flags if flag in {rows.get(key), flags[-1]}) for key, flags in options.items()
    }


def test_the_example_of_the_page_can_be_read(tmp_path: Path) -> None:
    """The TOML of docs/operations.md is a configuration."""
    example = re.findall(r"```toml\n(model_store.*?)```", (PAGE / "operations.md").read_text(), re.DOTALL)[0]
    config = configured(tmp_path, example, name="service.toml")
    assert (config.workers, config.drain_seconds, config.health.stall_seconds) == (2, 5, 5)
    assert config.security.tokens_file == tmp_path / "tokens"


TOML = """
port = 7
device = "cpu"
[admission]
window = 5
[log]
format = "json"
"""


def test_a_toml_file_says_the_same(tmp_path: Path) -> None:
    """The form that Python's own tools use; anything that is not called YAML is read as TOML."""
    for name in ("service.toml", "service.conf"):
        config = configured(tmp_path, TOML, name=name)
        assert (config.port, config.admission.window, config.log.format) == (7, 5, "json")


WRONG_TOML = {
    "unknown key": ("wrokers = 2", "unknown key wrokers: did you mean workers"),
    "wrong kind": ("workers = true", "workers must be a whole number, not True"),
    "no TOML": ("workers = ", "is not TOML"),
}


@pytest.mark.parametrize("case", WRONG_TOML)
def test_what_is_wrong_in_toml_is_one_line(tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As in YAML: the file, the key, what is allowed, exit code 2."""
    text, problem = WRONG_TOML[case]
    (tmp_path / "service.toml").write_text(text)
    assert main(["--config", str(tmp_path / "service.toml"), "--model-store", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert problem in error and "service.toml" in error


def test_every_field_is_an_environment_variable_and_an_option(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """File, then environment, then command line: the later one wins, field by field."""
    options = {each.key: each for each in command.params if isinstance(each, ConfigOption)}
    assert options.keys() == {knob.key for knob in knobs()}
    monkeypatch.setenv("SCOREGUARD_PORT", "8")
    monkeypatch.setenv("SCOREGUARD_ADMISSION_WINDOW", "6")
    monkeypatch.setenv("SCOREGUARD_WORKERS", "")
    config = configured(tmp_path, TOML, "--port", "9", "--admission-max-batch-bytes", "77", name="service.toml")
    assert (config.port, config.admission.window, config.log.format) == (9, 6, "json")
    assert config.admission.max_batch_bytes == 77


def test_every_variable_sets_its_field() -> None:
    """What a worker and the service read from the environment are the fields' own values."""
    others = {knob: _other(knob) for knob in knobs() if knob.key != "model_store"}
    for knob, value in others.items():
        assert read_environment(environment={variable(knob.key): str(value)}) == {knob.key: value}, knob.key
    for text, value in {"true": True, "ON": True, "0": False, "no": False}.items():
        assert read_environment(environment={"SCOREGUARD_GRADIENTS": text}) == {"gradients": value}


WRONG_VARIABLES = {
    "SCOREGUARD_WORKERS": ("many", "must be a whole number, not many"),
    "SCOREGUARD_PORT": ("70000", "must be at least 0 and at most 65535"),
    "SCOREGUARD_GRADIENTS": ("perhaps", "must be true or false, not perhaps"),
    "SCOREGUARD_BACKEND": ("triton", "must be one of torchserve, local, not triton"),
    "SCOREGUARD_HEALTH_PERIOD_SECONDS": ("nan", "must be above 0, not nan"),
}


@pytest.mark.parametrize("name", WRONG_VARIABLES)
def test_a_wrong_variable_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, the variable and what is allowed."""
    text, problem = WRONG_VARIABLES[name]
    monkeypatch.setenv(name, text)
    assert main(["--model-store", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: the environment variable {name} ") and error.count("\n") == 1
    assert problem in error


def test_the_shown_configuration_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--show-config` starts nothing; its output names where each value is from, and gives the same configuration."""
    monkeypatch.setenv("SCOREGUARD_LOG_FORMAT", "json")
    (tmp_path / "service.toml").write_text("port = 7\n[admission]\nwindow = 5\n")
    words = ["--config", str(tmp_path / "service.toml"), "--model-store", str(tmp_path), "--workers", "3"]
    assert main([*words, "--show-config"]) == 0
    shown = capsys.readouterr().out
    rows = [line for line in shown.splitlines() if " = " in line]
    origins = {row.split(" ")[0]: row.partition("  # ")[2].partition(",")[0] for row in rows}
    expected = {"port": "file", "window": "file", "format": "environment", "workers": "option", "threads": "default"}
    assert {name: origins[name] for name in expected} == expected
    monkeypatch.delenv("SCOREGUARD_LOG_FORMAT")
    again = configured(tmp_path, shown, name="shown.toml")
    assert (again.port, again.admission.window, again.log.format, again.workers) == (7, 5, "json", 3)


def test_workers_are_told_by_the_variables_that_an_operator_would_set() -> None:
    """One loader: what the gateway writes for TorchServe's workers is what they read, field by field."""
    told = ServeConfig(model_store=Path(), threads=3, gradients=True, graph_batch=4, max_pixels=5, checkpoint=True)
    assert worker_config(worker_environment(told.worker)) == told.worker
    assert worker_config({}) == WorkerConfig()
    with pytest.raises(StartupError, match="SCOREGUARD_THREADS must be at least 1, not 0"):
        worker_config({"SCOREGUARD_THREADS": "0"})


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
