"""Catalogues: our own classes and those of other distributions, lazily, and one that is broken harms no other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scoreguard.catalogue import Catalogue, DuplicateNameError, PluginError, UnknownNameError

pytestmark = pytest.mark.base

Install = Callable[..., None]
OWN = {"fraction": "fractions:Fraction", "decimal": "decimal:Decimal"}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put distributions on the path as an installer would: their metadata, and a module."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def add(package: str, entries: str, code: str = "class Half(int): pass") -> None:
        module = package.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[scoreguard.numbers]\n{entries}\n")

    yield add
    for name in set(sys.modules) - before:
        del sys.modules[name]


def numbers(own: dict[str, str] | None = None) -> Catalogue[object]:
    """A catalogue of numbers."""
    return Catalogue(kind="number", base=object, own=OWN if own is None else own)


def test_our_own_classes_are_found_in_their_order() -> None:
    """A mapping of names to classes."""
    assert list(numbers()) == ["fraction", "decimal"]
    assert numbers()["fraction"].__name__ == "Fraction"
    assert "fraction" in numbers()
    assert len(numbers()) == 2
    assert numbers().package("fraction") == "scoreguard"
    assert numbers().broken() == []


def test_nothing_is_imported_before_it_is_asked_for(install: Install) -> None:
    """Neither our own nor others'."""
    install("far-away", "half = far_away:Half")
    catalogue = numbers({"one": "this_is_no_module:One"})
    assert catalogue.package("half") == "far-away"
    assert "far_away" not in sys.modules
    assert "one" in catalogue
    assert catalogue["half"].__name__ == "Half"
    assert "far_away" in sys.modules


def test_an_entry_point_joins_behind_our_own(install: Install) -> None:
    """By name, whatever the order of installation."""
    install("later", "zero = later:Half")
    install("sooner", "half = sooner:Half")
    assert list(numbers()) == ["fraction", "decimal", "half", "zero"]
    assert dict(numbers())["half"].__module__ == "sooner"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("raise RuntimeError('line one\\nline two')", "RuntimeError: line one line two"),
        ("Half = 3", "broken_one:Half is no int"),
        ("", "AttributeError: module 'broken_one' has no attribute 'Half'"),
        ("class Half(", "SyntaxError"),
    ],
)
def test_a_class_that_cannot_be_used_is_named_in_one_line_and_harms_no_other(
    code: str, reason: str, install: Install
) -> None:
    """It is left out of the names; asked for, it says whose fault it is."""
    install("broken-one", "half = broken_one:Half", code)
    install("sound", "third = sound:Half")
    catalogue = Catalogue[int](kind="number", base=int, own={"bool": "builtins:bool"})
    assert list(catalogue) == ["bool", "third"]
    assert "half" not in catalogue
    assert [kind.__name__ for kind in catalogue.values()] == ["bool", "Half"]
    with pytest.raises(PluginError, match="number half of the package broken-one cannot be used") as caught:
        catalogue["half"]
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [error.name for error in catalogue.broken()] == ["half"]


@pytest.mark.parametrize(
    ("entries", "packages"),
    [
        ({"other": "fraction = other:Half"}, ("scoreguard", "other")),
        ({"first": "half = first:Half", "second": "half = second:Half"}, ("first", "second")),
    ],
)
def test_a_name_taken_twice_names_both_packages(
    entries: dict[str, str], packages: tuple[str, str], install: Install
) -> None:
    """Whatever is asked for: a user must not get one by chance."""
    for package, entry in entries.items():
        install(package, entry)
    with pytest.raises(DuplicateNameError) as caught:
        numbers()["decimal"]
    assert set(caught.value.packages) == set(packages)
    assert all(package in str(caught.value) for package in packages)


def test_an_unknown_name_lists_near_ones() -> None:
    """As an error of the contracts and as the KeyError that a mapping raises."""
    with pytest.raises(UnknownNameError, match=r"^unknown number 'Fractoin': did you mean fraction\?$"):
        numbers()["Fractoin"]
    with pytest.raises(KeyError, match="known: fraction, decimal"):
        numbers()["xyz"]
    assert numbers().get("xyz") is None
