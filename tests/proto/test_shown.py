"""What an error message echoes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreguard.support.shown import LIMIT, PATH_LIMIT, shown, shown_path

pytestmark = pytest.mark.base


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("photo.png", "photo.png"),
        (Path("photo.png"), "photo.png"),
        ((3, 4), "(3, 4)"),
        (None, "None"),
        ("a\nb\tc\x00", r"a\nb\tc\x00"),
        ("caf\udce9.png", r"caf\udce9.png"),
        ("Müller – 写真.png", "Müller – 写真.png"),
        (b"\x89PNG\r\n", r"\x89PNG\r\n"),
        ("x" * LIMIT, "x" * LIMIT),
        ("x" * (LIMIT + 1), "x" * (LIMIT - 1) + "…"),
        (b"x" * 10**6, "x" * (LIMIT - 1) + "…"),
        ("\n" * LIMIT, r"\n" * (LIMIT // 2 - 1) + "\\…"),
    ],
    ids=ascii,
)
def test_a_value_is_shown_on_one_printable_line(value: object, expected: str) -> None:
    """Short values are themselves; long ones end in an ellipsis; nothing breaks the line or the encoding."""
    assert shown(value) == expected


@given(st.one_of(st.text(), st.binary(), st.text(alphabet=st.characters(categories=["Cs", "Cc"]))), st.integers(1, 99))
def test_no_value_is_longer_than_the_limit(value: object, limit: int) -> None:
    """Any text or bytes come out encodable, on one line, within the limit."""
    text = shown(value, limit)
    assert len(text) <= limit
    assert len(text.splitlines()) <= 1
    text.encode("utf-8")


@given(st.text(), st.text(alphabet="abc.", min_size=1, max_size=40))
def test_a_path_keeps_its_end(folder: str, name: str) -> None:
    """One printable line within the limit, cut at the front if at all."""
    text = shown_path(f"{folder}/{name}")
    assert len(text) <= PATH_LIMIT
    assert text.endswith(f"/{name}")
    assert text == shown(f"{folder}/{name}", 10**6) or text.startswith("…")
    text.encode("utf-8")


def test_a_long_path_is_cut_at_its_front() -> None:
    """The beginning says least."""
    assert shown_path(Path("x" * 200, "photo.png")) == "…" + "x" * (PATH_LIMIT - 11) + "/photo.png"
