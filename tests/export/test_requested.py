"""What a command line asks to build: names, `all`, and weights that are given, fetched or missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from scoreguard_export.archive.requested import Requested, requested
from scoreguard_export.defences.catalogue import CATALOGUE as DEFENCES
from scoreguard_export.errors import WeightsError

ON_BACKBONES = (
    "spaq, meta-iqa, linearity, wsp, vsfa, mdtvsfa, rank-iqa, fpr, dbcnn, hyper-iqa, paq2piq, tres, "
    "koncept512, nima-inceptionresnetv2, nima-vgg16, maniqa, clip-iqa, laion-aesthetic"
)


@pytest.fixture(autouse=True)
def no_fetched_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of fetched weights with nothing in it."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("SCOREGUARD_WEIGHTS", str(folder))
    return folder


def resolved(metrics: str, defences: str, *weights: str) -> tuple[Requested, list[str]]:
    """The request, and the notices on the way."""
    notices: list[str] = []
    return requested(metrics, defences, weights, notices.append), notices


def test_all_metrics_are_those_with_weights_and_the_others_are_named() -> None:
    """As with `--defences all`: what has no weights is skipped with a notice, and stops nothing."""
    asked, notices = resolved("all", "flip")
    assert asked.metrics == ("lite", "niqe", "piqe")
    missing = f"brisque, brisque-opencv, cnniqa, nima, nima-aesthetic, {ON_BACKBONES}"
    assert notices == [f"skipped, no weights (scoreguard-export weights list): {missing}"]


def test_weights_that_are_given_or_fetched_count(no_fetched_weights: Path) -> None:
    """A file by `--weights` and a fetched one let their metrics in, in the order of the catalogue."""
    (no_fetched_weights / "nima.pt").write_bytes(b"weights")
    asked, notices = resolved("all", "flip", "cnniqa=file")
    assert asked.metrics == ("lite", "cnniqa", "nima", "niqe", "piqe")
    assert asked.weights == {"cnniqa": Path("file"), "nima": no_fetched_weights / "nima.pt"}
    missing = f"brisque, brisque-opencv, nima-aesthetic, {ON_BACKBONES}"
    assert notices == [f"skipped, no weights (scoreguard-export weights list): {missing}"]


def test_all_defences_are_those_with_weights_and_the_others_are_named() -> None:
    """One notice for metrics and one for defences."""
    asked, notices = resolved("all", "all")
    missing = ["bfcnn", "carn", "fbcnn", "ffdnet", "mprnet", "realesrgan"]
    assert asked.defences == tuple(name for name in DEFENCES if name not in missing)
    assert len(notices) == 2
    assert notices[1].endswith(": " + ", ".join(missing))


def test_what_is_named_is_asked_for_whether_it_has_weights_or_not() -> None:
    """The build then says what is missing: a name is a wish, `all` is not."""
    asked, notices = resolved("lite, cnniqa,,lite", "ffdnet")
    assert (asked.metrics, asked.defences, notices) == (("lite", "cnniqa"), ("ffdnet",), [])


def test_a_file_without_a_name_is_for_the_one_metric() -> None:
    """With several the line says how to name it."""
    assert resolved("nima", "flip", "x.pt")[0].weights == {"nima": Path("x.pt")}
    with pytest.raises(WeightsError, match=r"write NAME=x\.pt, several metrics are built"):
        resolved("lite,nima", "flip", "x.pt")
