"""A large file in parts: it arrives whole or not at all."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import wheel_parts
from wheel_parts import LIST, PartsError, join, split

CONTENT = random.Random(7).randbytes(10_001)


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A folder with three parts of a file."""
    source = tmp_path / "package-1.0-py3-none-any.whl"
    source.write_bytes(CONTENT)
    assert [path.stat().st_size for path in split(source, tmp_path / "parts", 4000)] == [4000, 4000, 2001]
    return tmp_path / "parts"


def test_the_joined_file_is_the_one_that_was_split(parts: Path, tmp_path: Path) -> None:
    """Under its own name, with nothing beside it."""
    joined = join(parts, tmp_path / "wheels")
    assert joined.name == "package-1.0-py3-none-any.whl"
    assert joined.read_bytes() == CONTENT
    assert list(joined.parent.iterdir()) == [joined]


def test_a_missing_part_is_named(parts: Path, tmp_path: Path) -> None:
    """Whoever carries them knows which to bring."""
    (parts / "package-1.0-py3-none-any.whl.part01").unlink()
    with pytest.raises(PartsError, match=r"whl\.part01 missing; bring it too"):
        join(parts, tmp_path / "wheels")


def test_a_changed_part_is_refused_and_nothing_is_left(parts: Path, tmp_path: Path) -> None:
    """Even if its size is right."""
    path = parts / "package-1.0-py3-none-any.whl.part02"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(PartsError, match=r"part02 was changed on the way"):
        join(parts, tmp_path / "wheels")
    assert list((tmp_path / "wheels").iterdir()) == []


def test_parts_in_another_order_are_not_the_file(parts: Path, tmp_path: Path) -> None:
    """The digest of the whole is confirmed as well."""
    content = json.loads((parts / LIST).read_text())
    content["parts"][:2] = reversed(content["parts"][:2])
    (parts / LIST).write_text(json.dumps(content))
    with pytest.raises(PartsError, match="another digest"):
        join(parts, tmp_path / "wheels")


def test_a_list_that_leads_elsewhere_is_refused(parts: Path, tmp_path: Path) -> None:
    """It may come from anywhere."""
    content = json.loads((parts / LIST).read_text())
    (parts / LIST).write_text(json.dumps(content | {"name": "../elsewhere.whl"}))
    with pytest.raises(PartsError, match="outside of its folder"):
        join(parts, tmp_path / "wheels")
    assert not (tmp_path / "elsewhere.whl").exists()


def test_the_command_splits_joins_and_refuses_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 for bad input."""
    source = tmp_path / "some.whl"
    source.write_bytes(CONTENT)
    assert wheel_parts.main(["split", str(source), "--out", str(tmp_path / "parts"), "--mib", "1"]) == 0
    assert wheel_parts.main(["join", str(tmp_path / "parts"), "--out", str(tmp_path / "wheels")]) == 0
    assert (tmp_path / "wheels/some.whl").read_bytes() == CONTENT
    capsys.readouterr()
    assert wheel_parts.main(["join", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
