"""The folder of real images, weights and human scores: one place says where it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from data_folder import BESIDE, VARIABLE, data_folder

ROOT = Path(__file__).resolve().parents[1]


def test_the_environment_names_the_folder(tmp_path: Path) -> None:
    """Wherever it is."""
    assert data_folder({VARIABLE: str(tmp_path)}) == tmp_path.resolve()


@pytest.mark.parametrize("environment", [{}, {VARIABLE: ""}], ids=["not set", "empty"])
def test_without_a_name_it_is_beside_the_checkout(environment: dict[str, str]) -> None:
    """Present or not: who needs it skips."""
    assert data_folder(environment) == BESIDE == ROOT.parent / "shared" / "data"


def test_a_name_that_is_no_folder_is_an_error(tmp_path: Path) -> None:
    """A slip in the variable must not skip every test that needs the data."""
    with pytest.raises(NotADirectoryError, match=f"{VARIABLE}=.*nowhere is not a folder"):
        data_folder({VARIABLE: str(tmp_path / "nowhere")})


def test_no_other_test_spells_the_place() -> None:
    """One that did would not follow the variable."""
    here = {Path(__file__).name, "data_folder.py"}
    spelling = re.compile(r"""shared["']?\s*(?:/|,)\s*["']?data\b""")
    assert not [
        path.relative_to(ROOT).as_posix()
        for path in ROOT.glob("tests/**/*.py")
        if path.name not in here and spelling.search(path.read_text(encoding="utf-8"))
    ]
