"""`scoreguard score`, `catalogue` and `bench` as a user meets them."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import PIL.Image
import pytest

from scoreguard_client import ScoringClient
from scoreguard_client.cli import COMMANDS, LazyGroup, command, main

pytestmark = pytest.mark.base


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """An image whose brightness is 20."""
    path = tmp_path / "grey.png"
    PIL.Image.fromarray(np.full((4, 6, 3), 51, np.uint8)).save(path)
    return path


@pytest.fixture
def run(running: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Runs a command line against the server; gives the exit code, stdout and stderr."""
    monkeypatch.setenv("SCOREGUARD_TARGET", running.target)

    def invoke(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    yield invoke


def test_one_image_prints_its_score(run: Any, photo: Path) -> None:
    """The number alone, ready to be piped."""
    assert run("score", photo, "--metric", "bright") == (0, "20.0000\n", "")


def test_defences_are_applied_in_order(run: Any, photo: Path) -> None:
    """Repeated options and joined steps are one chain."""
    code, out, _ = run("score", photo, "--metric", "bright", "--defence", "dim+dim:factor=0.1", "--defence", "dim")
    assert (code, out) == (0, "0.5000\n")


def test_the_gap_is_shown_when_asked_for(run: Any, photo: Path) -> None:
    """Undefended score and gap stand beside the score."""
    _, out, _ = run("score", photo, "--metric", "bright", "--defence", "dim", "--undefended")
    assert out == "10.0000  (undefended 20.0000, gap +10.0000)\n"


def test_several_images_make_a_table(run: Any, photo: Path) -> None:
    """Each image has its row."""
    code, out, _ = run("score", photo, photo, "--metric", "bright", "--undefended")
    assert code == 0
    assert out.count("20.0000") == 4
    assert "undefended" in out


def test_json_is_one_object_a_line(run: Any, photo: Path) -> None:
    """A program gets the score and what it takes to repeat it."""
    for images in ([photo], [photo, photo]):
        code, out, _ = run("score", *images, "--metric", "bright", "--defence", "dim", "--seed", 5, "--json")
        records = [json.loads(line) for line in out.splitlines()]
        assert code == 0
        assert [record["image"] for record in records] == [str(image) for image in images]
        for record in records:
            assert record["score"] == pytest.approx(10, abs=1e-5)
            assert (record["defences"], record["seed"]) == ("dim", 5)


def test_a_bad_image_among_good_ones_fails_alone(run: Any, photo: Path, tmp_path: Path) -> None:
    """With --json each input has its object, the bad one with its error; the error is also a line, and the code 2."""
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear server")
    code, out, err = run("score", photo, letter, photo, "--metric", "bright", "--json")
    assert code == 2
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["image"] for record in records] == [str(photo), str(letter), str(photo)]
    assert ["error" in record for record in records] == [False, True, False]
    assert records[1]["error"]["message"] in err
    assert err.startswith(f"error: {letter}: ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("metric", ["nope", "bright"])
def test_a_single_image_that_fails_has_its_json_object(metric: str, run: Any, photo: Path, tmp_path: Path) -> None:
    """Whether the server or the client refused it."""
    image = photo if metric == "nope" else tmp_path / "missing.png"
    code, out, err = run("score", image, "--metric", metric, "--json")
    record = json.loads(out)
    assert (code, record["image"]) == (2, str(image))
    assert record["error"]["message"] in err
    assert record["error"]["code"] == ("NOT_FOUND" if metric == "nope" else "")


@pytest.mark.parametrize("options", [["--metric", "bright"], []], ids=["named metric", "only metric"])
def test_without_a_server_each_input_has_its_json_object(options: list[str], run: Any, photo: Path) -> None:
    """A program that reads the lines finds every input again; the line for people is written once."""
    code, out, err = run("score", photo, photo, "--json", "--target", "localhost:1", *options)
    records = [json.loads(line) for line in out.splitlines()]
    assert (code, len(err.splitlines())) == (2, 1)
    assert [(record["image"], record["error"]["code"]) for record in records] == [(str(photo), "UNAVAILABLE")] * 2


def test_a_name_that_is_not_utf8_is_printed_with_escapes(run: Any, photo: Path, tmp_path: Path) -> None:
    """As in the records of campaigns, and JSON has no lone surrogates, which other readers refuse."""
    latin = tmp_path / os.fsdecode(b"caf\xe9.png")
    latin.write_bytes(photo.read_bytes())
    _, out, _ = run("score", latin, latin, "--metric", "bright", "--json")
    assert [json.loads(line)["image"] for line in out.splitlines()] == [f"{tmp_path}/caf\\xe9.png"] * 2
    _, table, _ = run("score", latin, latin, "--metric", "bright")
    assert table.count(r"caf\xe9.png") == 2


def test_an_error_names_its_image_once(run: Any, photo: Path, tmp_path: Path) -> None:
    """The message has the name already."""
    _, _, err = run("score", photo, tmp_path / "missing.png", "--metric", "bright")
    assert err == f"error: cannot read {tmp_path}/missing.png: No such file or directory\n"


def test_the_only_metric_needs_no_name(run: Any, photo: Path) -> None:
    """A server with one metric leaves no choice."""
    code, out, _ = run("score", photo, "--json")
    assert (code, json.loads(out)["score"]) == (0, pytest.approx(20, abs=1e-5))


def test_the_purified_image_can_be_saved(run: Any, photo: Path, tmp_path: Path) -> None:
    """The file holds what the metric saw, rounded to 8 bits."""
    out = tmp_path / "out.png"
    assert run("score", photo, "--metric", "bright", "--defence", "dim", "--save-purified", out)[0] == 0
    with PIL.Image.open(out) as saved:
        np.testing.assert_array_equal(np.asarray(saved), np.full((4, 6, 3), 26))


BAD = [
    (["score", "missing.png"], "cannot read missing.png"),
    (["score", "{photo}", "--metric", "nope"], "unknown metric 'nope'"),
    (["score", "{photo}", "--metric", "bright", "--defence", "dim:factor"], "cannot read defence"),
    (["score", "{photo}", "--metric", "bright", "--defence", "nope"], "unknown defence"),
    (["score", "{photo}", "--target", "localhost:1"], "cannot reach localhost:1: is scoreguard-serve running?"),
    (["score", "{photo}", "{photo}", "--target", "localhost:1"], "is scoreguard-serve running?"),
    (["catalogue", "--target", "localhost:1"], "is scoreguard-serve running?"),
    (["bench", "--target", "localhost:1"], "is scoreguard-serve running?"),
    (["score", "{photo}", "--seed", "-1"], "--seed"),
    (["score", "{photo}", "{photo}", "--save-purified", "x.png"], "takes one image"),
    (["score", "{photo}", "--metric", "bright", "--save-purified", "/nonexistent/x.png"], "cannot write"),
    (["score", "{photo}", "--token-file", "/nonexistent"], "cannot read /nonexistent"),
    (["score", "{photo}", "--tls-key", "{photo}"], "mutual TLS needs both"),
    (["score"], "Missing argument"),
    (["score", "{photo}", "--metrics", "bright"], "No such option"),
    (["scrore"], "No such command"),
    (["bench", "--callers", "1,x"], "is not a list like 1,4,16"),
    (["bench", "--synthetic", "512"], "is not WIDTHxHEIGHT"),
    (["bench", "--images", "{folder}/empty"], "holds no image"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), BAD, ids=lambda value: " ".join(value) if type(value) is list else ""
)
def test_bad_input_is_one_line_and_exit_code_2(
    run: Any, photo: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    """Never a traceback, nothing on stdout that a program could take for an answer."""
    (tmp_path / "empty").mkdir()
    code, out, err = run(*(argument.format(photo=photo, folder=tmp_path) for argument in arguments))
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1
    assert "20.0" not in out


def test_a_token_is_read_from_a_file(run: Any, running: Any, photo: Path, tmp_path: Path) -> None:
    """The file's text without its line end is the token."""
    secret = tmp_path / "token"
    secret.write_text("s3cret\n")
    assert run("score", photo, "--metric", "bright", "--token-file", secret)[0] == 0
    assert running.service.metadata[-1]["authorization"] == "Bearer s3cret"


def test_a_token_is_read_from_the_environment(
    run: Any, running: Any, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Command lines are public, so there is no option for the token itself."""
    monkeypatch.setenv("SCOREGUARD_TOKEN", "fr0m-env")
    assert run("score", photo, "--metric", "bright")[0] == 0
    assert running.service.metadata[-1]["authorization"] == "Bearer fr0m-env"


def test_the_catalogue_lists_metrics_and_defences(run: Any) -> None:
    """Range, direction, parameters, defaults and ranges are there for people."""
    code, out, _ = run("catalogue")
    assert code == 0
    for part in (
        "bright: Mean brightness",
        "0 to 100, higher is better",
        "factor=0.5  0 to 1",
        "one of 1, 3",
        "random",
    ):
        assert part in out


def test_the_catalogue_as_json_is_the_dataclass(run: Any, running: Any) -> None:
    """A program gets everything that the client library gives."""
    _, out, _ = run("catalogue", "--json")
    with ScoringClient(running.target) as client:
        assert json.loads(out) == json.loads(json.dumps(dataclasses.asdict(client.list_metrics())))


def test_bench_prints_a_row_for_each_number_of_callers(run: Any, tmp_path: Path, photo: Path) -> None:
    """Synthetic images and folders work; JSON carries the same numbers."""
    options = ["--metric", "bright", "--callers", "1,3", "--seconds", "0.2", "--json"]
    for source in (["--synthetic", "32x24"], ["--images", photo.parent]):
        code, out, _ = run("bench", *options, *source)
        rows = [json.loads(line) for line in out.splitlines()]
        assert code == 0
        assert [row["callers"] for row in rows] == [1, 3]
        for row in rows:
            assert row["failures"] == 0
            assert row["requests"] > 0
            assert 0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]


def test_bench_fails_when_answers_were_wrong(run: Any, running: Any, photo: Path) -> None:
    """Exit code 1, and the kinds of error in the row."""
    running.service.drift = 1.0
    code, out, _ = run("bench", "--metric", "bright", "--callers", "1", "--seconds", "0.2", "--images", photo.parent)
    assert code == 1
    assert "WrongScore" in out


def leaves() -> list[str]:
    """The commands of this package that need nothing but the base installation."""
    return [name for name, entry in COMMANDS.items() if not entry.extra]


@pytest.mark.parametrize("name", leaves())
def test_help_ends_with_an_example(run: Any, name: str) -> None:
    """The last line of the help is a command that can be pasted."""
    code, out, _ = run(name, "--help")
    assert code == 0
    assert out.rstrip().splitlines()[-1].strip().startswith(f"scoreguard {name} ")


def test_help_lists_every_command(run: Any) -> None:
    """With or without --help."""
    for arguments in ([], ["--help"]):
        code, out, _ = run(*arguments)
        assert code == 0
        assert all(name in out for name in COMMANDS)


def test_a_missing_extra_is_one_line(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command whose packages are not installed says what to install, at import and at run time."""

    def fail(*_: Any) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    line = "error: scoreguard attack needs pip install 'scoreguard[attacks]' (no module named torch)\n"
    monkeypatch.setattr("scoreguard_client.cli.importlib.import_module", fail)
    assert run("attack") == (2, "", line)
    late = click.Command("attack", callback=fail)
    monkeypatch.setattr(LazyGroup, "get_command", lambda *_: late)
    assert run("attack") == (2, "", line)


def test_a_broken_installation_is_not_taken_for_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """If one of our own modules is missing, the traceback is what helps."""

    def fail(name: str) -> None:
        raise ModuleNotFoundError("gone", name="scoreguard_client.commands.attack")

    monkeypatch.setattr("scoreguard_client.cli.importlib.import_module", fail)
    with pytest.raises(ModuleNotFoundError):
        main(["attack"])


def test_the_version_is_that_of_the_distribution(run: Any) -> None:
    """`scoreguard --version` names the program and its version."""
    code, out, _ = run("--version")
    assert code == 0
    assert isinstance(command, LazyGroup)
    assert out.strip().split()[-1].count(".") == 2
