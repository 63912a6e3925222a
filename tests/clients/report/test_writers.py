"""The tables as files: read back, they say what the tables say."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tests.clients.report.conftest import FGSM, PLAN, SQUARE, MakeRun, record, sound_records

from scoreguard_client.attacks import parse_attack
from scoreguard_client.cli import main
from scoreguard_client.commands.attack import command as attack
from scoreguard_client.report import Report, TableOptions, make_report, read_report, tables_of
from scoreguard_client.report.command import attack_command
from scoreguard_client.report.errors import TableError
from scoreguard_client.report.naming import attack_text
from scoreguard_client.report.source import source_of
from scoreguard_client.report.tables.model import Cell, Heading, Line, Table
from scoreguard_client.report.text import text_table
from scoreguard_client.report.writers import read_tables, tables_json, terminal_table, write_files
from scoreguard_client.report.writers.csv_files import csv_lines
from scoreguard_client.report.writers.latex import escaped as escaped_latex
from scoreguard_client.report.writers.latex import latex
from scoreguard_client.report.writers.markdown import markdown
from scoreguard_client.scores import Estimate

QUICK = TableOptions(resamples=50)
LEVELS = "fgsm:direction=up:eps=0.0392156862745"
NASTY = r"a_b & 50% {c} #1 \d ~ ^ $x$ <i> | *"
"""Everything that Markdown or LaTeX would take for its own."""


def table(**changes: object) -> Table:
    """A table with one line, of an estimate, a weak one, a count and a text."""
    cells = (
        Cell(estimate=Estimate(value=0.1234, low=0.1, high=0.2)),
        Cell(estimate=Estimate(value=0.5, note="n too small", weak=True)),
        Cell(plain=7.0),
        Cell(text=NASTY),
    )
    keys = ("gain", "srocc", "images", "strongest")
    headings = tuple(Heading(key=key, label=key, meaning=key, digits=0 if key == "images" else 3) for key in keys)
    line = Line(key="a|b", names=(NASTY, "b"), cells=cells, tags=("adaptive",))
    made = Table(
        key="kind:metric", title=NASTY, about=NASTY, leading=("attack", "defence"), headings=headings, lines=(line,)
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def report_of(make_run: MakeRun) -> Report:
    """A small report."""
    return read_report(make_run(), QUICK)


def test_a_report_leaves_every_form_of_its_tables(make_run: MakeRun) -> None:
    """CSV for each table, Markdown, LaTeX, JSON, BibTeX and the badge, beside the two CSV files of before."""
    folder = make_report(make_run(), QUICK).folder
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert there >= {
        "table.csv",
        "records.csv",
        "tables.md",
        "tables.tex",
        "tables.json",
        "citations.bib",
        "badge.json",
    }
    assert json.loads((folder / "badge.json").read_text())["message"] == "0.12 behind dim"
    assert {name for name in there if name.startswith("tables/")} == {
        f"tables/{kind}-bright.csv" for kind in ("leaderboard", "adaptive", "robustness")
    }


def test_json_reads_back_as_the_same_tables(make_run: MakeRun, tmp_path: Path) -> None:
    """Every number to the last bit, what is missing as missing, and where they are from."""
    report = report_of(make_run)
    tables, source = tables_of([report]), source_of([report])
    path = tmp_path / "tables.json"
    path.write_text(tables_json(tables, source))
    found, told = read_tables(path)
    assert told == source
    assert "NaN" not in path.read_text()
    assert repr(found) == repr(tables)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"format": 99}', "format 99"),
        ('{"format": 1, "source": {}}', "lacks"),
        ('{"format": 1, "source": {}, "tables": 3}', "cannot be read"),
    ],
)
def test_a_file_with_other_content_is_refused_by_name(content: str, why: str, tmp_path: Path) -> None:
    """One line that names the file."""
    path = tmp_path / "tables.json"
    path.write_text(content)
    with pytest.raises(TableError, match=why) as caught:
        read_tables(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_csv_file_has_exact_numbers_and_both_ends(make_run: MakeRun, tmp_path: Path) -> None:
    """The key of a line is that of the records: it parses; a missing number is an empty cell."""
    report = report_of(make_run)
    write_files(tables_of([report]), source_of([report]), tmp_path)
    with (tmp_path / "tables/robustness-bright.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    for line, row in zip(lines, report.rows, strict=True):
        attack, chain, kind = line["line"].split("|")
        assert (attack, chain, kind) == (row.attack, row.chain, "adaptive" if row.adaptive else "unaware")
        gain = row.scores["absolute_gain"]
        assert (line["absolute_gain"], line["absolute_gain_low"]) == (repr(gain.value), "")
        assert float(line["images"]) == row.images


def test_a_column_without_an_estimate_is_one_column_of_the_csv_file() -> None:
    """Counts and texts have no ends; names stand as they are."""
    heading, line = csv_lines(table())
    assert heading[:4] == ["line", "attack", "defence", "tags"]
    assert heading[4:10] == ["gain", "gain_low", "gain_high", "srocc", "srocc_low", "srocc_high"]
    assert heading[10:] == ["images", "strongest"]
    assert line[:7] == ["a|b", NASTY, "b", "adaptive", 0.1234, 0.1, 0.2]
    assert line[-2:] == [7.0, NASTY]


def test_markdown_has_one_cell_for_each_heading_whatever_is_in_it(make_run: MakeRun) -> None:
    """A bar in a name is no border; a weak correlation is marked and the mark explained."""
    text = markdown([table()], source_of([report_of(make_run)]))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {7}
    assert "| 0.123 \\[0.100, 0.200\\] | 0.500 n too small† | 7 |" in rows[2]
    assert "fewer than 20 images" in text
    assert "<i>" not in re.sub(r"\\<", "", text)


def test_latex_is_whole_and_escapes_what_is_its_own(make_run: MakeRun) -> None:
    """Balanced braces and environments, as many columns in each row as are declared, grey weak correlations."""
    text = latex([table()], source_of([report_of(make_run)]))
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    plain = re.sub(r"\\[{}\\&%$#_]", "", body.replace(r"\\", ""))
    assert plain.count("{") == plain.count("}")
    assert re.findall(r"\\begin\{(.*?)\}", body) == re.findall(r"\\end\{(.*?)\}", body)[::-1]
    (declared,) = re.findall(r"\\begin\{tabular\}\{@\{\}(l+r+)@\{\}\}", body)
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(declared)} == {6}
    assert "0.123 {\\scriptsize [0.100, 0.200]}" in body
    assert r"\textcolor{gray}{0.500 {\scriptsize n too small}}" in body
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\label{tab:kind-metric}", r"\caption{"):
        assert body.count(rule) == 1


def test_a_long_latex_table_breaks_across_pages(make_run: MakeRun) -> None:
    """The head is repeated; the rows are the same as in a float."""
    source = source_of([report_of(make_run)])
    lines = tuple(replace(table().lines[0], key=str(number)) for number in range(41))
    text, short = latex([table(lines=lines)], source), latex([table(lines=lines[:40])], source)
    assert "longtable" not in "".join(line for line in short.splitlines() if not line.startswith("%"))
    assert text.count(r"\begin{longtable}") == text.count(r"\end{longtable}") == 1
    assert text.count(r"\endhead") == 1
    row = next(line for line in short.splitlines() if "0.123" in line)
    assert (text.count(row), short.count(row)) == (41, 40)


def test_no_character_of_a_text_is_left_to_latex() -> None:
    """Each of LaTeX's ten special characters has its escape."""
    assert escaped_latex(r"\{}&%$#_~^") == (r"\textbackslash{}\{\}\&\%\$\#\_\textasciitilde{}\textasciicircum{}")


def test_a_row_that_begins_with_a_bracket_is_not_read_as_a_length(make_run: MakeRun) -> None:
    """After a line's end LaTeX takes [3] for the space that follows."""
    line = replace(table().lines[0], names=("[3]", "b"))
    assert "\n{}[3] & b" in latex([table(lines=(line,))], source_of([report_of(make_run)]))


def test_attack_texts_for_people_have_fractions_and_still_parse() -> None:
    """Records keep the exact text; the fraction reads back as nearly the same attack."""
    assert attack_text(LEVELS) == "fgsm:direction=up:eps=10/255"
    assert attack_text("fgsm:eps=0.1") == "fgsm:eps=0.1"
    assert attack_text("cumulative-uap:file=0.0392156862745.npz:amplitude=0.4").endswith(
        "file=0.0392156862745.npz:amplitude=0.4"
    )
    again, exact = (parse_attack(text) for text in (attack_text(LEVELS), LEVELS))
    assert np.isclose(vars(again)["eps"], vars(exact)["eps"], rtol=1e-9)


def test_no_form_for_people_prints_an_attack_in_decimals(make_run: MakeRun, tmp_path: Path) -> None:
    """Markdown and LaTeX name 10/255; JSON and CSV have the text that parses."""
    records = [record(number, LEVELS, "none", "none", 20.0) for number in range(6)]
    report = read_report(make_run(records, plan=replace(PLAN, attacks=(LEVELS, FGSM))), QUICK)
    write_files(tables_of([report]), source_of([report]), tmp_path)
    for name in ("tables.md", "tables.tex"):
        text = (tmp_path / name).read_text()
        assert "eps=10/255" in text
        (exact,) = [line for line in text.splitlines() if "0.0392" in line]
        assert "scoreguard attack" in exact, "the command must parse, and alone has the exact text"
    assert LEVELS in json.loads((tmp_path / "tables.json").read_text())["source"]["attacks"]


def test_the_command_of_a_run_has_its_plan_and_only_options_that_exist(make_run: MakeRun) -> None:
    """Read as a shell reads it; what a plan does not hold is named in capitals."""
    plan = replace(PLAN, seed=7, draws=3, crafting_draws=0, distance="lpips:ab")
    words = shlex.split(attack_command([read_report(make_run(plan=plan), QUICK)]))
    assert words[:2] == ["scoreguard", "attack"]
    options = {name for parameter in attack.params for name in parameter.opts}
    given = dict(zip(words, [*words[1:], ""], strict=True))
    assert {word for word in words if word.startswith("--")} <= options
    assert given["--attacks"].split(",") == [FGSM, SQUARE]
    assert given["--chains"] == "none,dim"
    assert (given["--seed"], given["--draws"], given["--crafting-draws"]) == ("7", "3", "auto")
    assert (given["--images"], given["--out"], given["--distance"]) == ("IMAGES", "RUN", "lpips=WEIGHTS")
    assert "--adaptive" in words


def test_the_leaderboard_is_printed_before_the_rows(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    """The worst case leads; columns without any number are left out there."""
    assert main(["report", str(make_run(sound_records())), "--resamples", "20"]) == 0
    printed = capsys.readouterr().out
    assert printed.index("worst gain") < printed.index("robustness")
    assert "order violations" not in printed
    assert "Not in this run: everyday edits" in printed


@pytest.mark.parametrize("width", [30, 60, 90, 200])
def test_on_any_terminal_the_worst_gain_of_every_chain_is_whole(width: int, make_run: MakeRun) -> None:
    """Columns are dropped from the right, and nothing is cut off."""
    board = tables_of([report_of(make_run)])[0]
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(terminal_table(board, width))
    text = console.export_text()
    assert "…" not in text
    for line, value in (("dim", "0.120"), ("none", "0.200")):
        assert any(line in row and value in row for row in text.splitlines())
    assert max(map(len, text.splitlines())) <= max(width, 36)


def test_a_weak_correlation_is_dim_on_a_terminal(make_run: MakeRun) -> None:
    """In both tables: six images say little of a correlation, and all of a mean."""
    report = report_of(make_run)
    for shown in (terminal_table(tables_of([report])[0]), text_table(report)):
        console = Console(width=200, force_terminal=True, file=io.StringIO(), color_system="standard")
        console.print(shown)
        printed = console.file.getvalue()  # type: ignore[attr-defined]
        assert "\x1b[2m1.000\x1b[0m" in printed
        assert "\x1b[2m0.3" not in printed
