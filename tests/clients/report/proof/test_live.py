"""A run against a service in this process, its page, and the service asked again: other scores are named."""

from __future__ import annotations

import base64
import json
import re
from html import escape
from pathlib import Path

import pytest
from tests.clients.campaign.two_metrics import options_of, run, service_of_two
from tests.clients.report.proof.conftest import Made
from tests.clients.report.proof.pages import page

from scoreguard_client.campaign.gallery import image_path
from scoreguard_client.cli import main
from scoreguard_client.commands.report import verify as command
from scoreguard_client.report import make_reports
from scoreguard_client.report.build import Report, read_reports
from scoreguard_client.report.numbers import TableOptions
from scoreguard_client.report.proof.live import TOLERANCE
from scoreguard_client.report.proof.verify import verify_page
from scoreguard_client.report.tables import tables_of
from scoreguard_client.testing import FakeService
from scoreguard_client.testing.service import brightness


def exhibit(report: Report, native: str = "1") -> str:
    """The attacked image of the first adaptive record, as a page shows it."""
    record = next(record for record in report.records if record.adaptive)
    names = {"metric": record.metric, "attack": record.attack, "attacked_through": record.attacked_through}
    png = base64.b64encode(image_path(report.run, record.image, **names).read_bytes()).decode()
    told = {
        "native": native,
        "kind": "attacked",
        "metric": record.metric,
        "image": record.image,
        "attack": record.attack,
        "chain": record.attacked_through,
    }
    data = " ".join(f'data-{key}="{escape(value)}"' for key, value in told.items())
    return f'<img {data} src="data:image/png;base64,{png}">'


@pytest.fixture
def reports(tmp_path: Path) -> list[Report]:
    """Those of a run of two metrics behind `none` and `halve`."""
    run(options_of(tmp_path))
    return list(read_reports(tmp_path / "run", TableOptions(resamples=50)))


def verified(reports: list[Report], images: str, service: FakeService, monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of the command, asked for this service."""
    made = Made(reports=reports, tables=tables_of(reports))
    path = reports[0].run / "page.html"
    path.write_text(page(made).replace("</body>", f"{images}</body>"), encoding="utf-8")
    monkeypatch.setattr(command, "ScoringClient", lambda target, config: service.client(config))
    return main(["report", "verify", str(path), "--target", "service:1", "--images", "1"])


def test_a_server_that_scores_alike_agrees(
    reports: list[Report], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The image in 8 bits, behind the chain that the attack knew."""
    service = service_of_two()
    assert verified(reports, exhibit(reports[0]), service, monkeypatch) == 0
    assert capsys.readouterr().out.endswith("; 1 of 1 scores are what the server gives\n")
    assert [(call.metric, call.chain) for call in service.calls] == [("bright", "halve")]


@pytest.mark.parametrize(("shift", "code"), [(0.9 * TOLERANCE * 100, 0), (1.1 * TOLERANCE * 100, 1)])
def test_a_server_that_scores_otherwise_is_told_beyond_the_tolerance(
    shift: float,
    code: int,
    reports: list[Report],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The line has the record's score and the server's."""
    service = service_of_two(metrics={"bright": lambda image: brightness(image) + shift}, gradients={})
    assert verified(reports, exhibit(reports[0]), service, monkeypatch) == code
    shown = capsys.readouterr().out
    assert ("behind halve: recorded " in shown) is bool(code)
    assert f"{1 - code} of 1 scores are what the server gives" in shown


def test_an_image_that_is_not_of_its_own_size_is_not_scored(
    reports: list[Report], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reduced one has another score; the page has no other."""
    assert verified(reports, exhibit(reports[0], native="0"), service_of_two(), monkeypatch) == 2
    assert "no attacked image that can be scored again" in capsys.readouterr().err


def test_an_image_that_no_record_is_of_is_named(
    reports: list[Report], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As when somebody puts another image into the page."""
    image = exhibit(reports[0]).replace('data-image="a.png"', 'data-image="mine.png"')
    assert verified(reports, image, service_of_two(), monkeypatch) == 2
    assert "the page has no record of ifgsm" in capsys.readouterr().err


def test_an_image_that_was_cut_is_named(
    reports: list[Report], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line."""
    image = exhibit(reports[0]).replace("base64,", "base64,*")
    assert verified(reports, image, service_of_two(), monkeypatch) == 2
    assert "an image of a.png in the page was cut" in capsys.readouterr().err


def test_without_a_target_no_server_is_asked(
    reports: list[Report], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even the one that the environment names."""
    monkeypatch.setenv("SCOREGUARD_TARGET", "nowhere:1")
    path = reports[0].run / "page.html"
    path.write_text(page(Made(reports=reports, tables=tables_of(reports))), encoding="utf-8")
    assert main(["report", "verify", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scores"] == []


def test_the_images_of_a_reports_own_page_are_scored_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the run to its page to the server: every cell and every score agrees; with another image it does not."""
    service = service_of_two()
    run(options_of(tmp_path), service)
    make_reports(tmp_path / "run", TableOptions(resamples=50))
    path = tmp_path / "run/report/index.html"
    monkeypatch.setattr(command, "ScoringClient", lambda target, config: service.client(config))
    assert main(["report", "verify", str(path), "--target", "service:1", "--images", "2"]) == 0
    assert re.search(r"; (\d+) of \1 scores are what the server gives\n", capsys.readouterr().out)
    shown = verify_page(path).shown.images
    own, other = (next(image for image in shown if image.kind == kind) for kind in ("attacked", "clean"))
    html, texts = path.read_text("utf-8"), [base64.b64encode(image.png).decode() for image in (own, other)]
    assert html.count(texts[0]) > 0
    path.write_text(html.replace(texts[0], texts[1]), encoding="utf-8")
    assert main(["report", "verify", str(path), "--images", "1"]) == 1
    assert f"{own.metric}, {own.image}, {own.attack} behind " in capsys.readouterr().out
