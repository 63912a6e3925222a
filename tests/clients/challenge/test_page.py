"""The page of a challenged run: it recomputes itself, its images are scored again, and it leads with who is ahead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from tests.clients.campaign.two_metrics import options_of, run, service_of_two, write_photos
from tests.clients.report.proof.headless import document

from scoreguard_client.challenge import ChallengeOptions, challenge
from scoreguard_client.report import TableOptions, make_reports
from scoreguard_client.report.proof.live import rescored
from scoreguard_client.report.proof.verify import verify_page
from scoreguard_client.report.tables import tables_of


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A report with one challenge in its budget and one outside."""
    options = options_of(tmp_path, metric="bright", attacks="square:queries=3:eps=10/255")
    write_photos(options.images, "c.png", "d.png")
    run(options)
    with service_of_two().client() as client:
        for name, levels in (("alice", 10), ("mallory", 60)):
            (tmp_path / name).mkdir()
            for path in options.images.glob("*.png"):
                with PIL.Image.open(path) as opened:
                    values = np.clip(np.asarray(opened).astype(int) + levels, 0, 255).astype(np.uint8)
                PIL.Image.fromarray(values).save(tmp_path / name / path.name)
            settings = ChallengeOptions(run=options.out, images=tmp_path / name)
            challenge(settings, client, lambda total: lambda steps, what: None)
    reports = make_reports(options.out, TableOptions(resamples=10))
    (leaderboard, *_) = tables_of(reports)
    strongest = [h.key for h in leaderboard.headings].index("strongest")
    assert {line.cells[strongest].text for line in leaderboard.lines} == {"alice (external)"}
    worst = [h.key for h in leaderboard.headings].index("worst_gain")
    gains = [cell.estimate.value for line in leaderboard.lines if (cell := line.cells[worst]).estimate]
    assert sorted(gains) == pytest.approx([5 / 255, 10 / 255], abs=1e-6)
    return options.out / "report" / "index.html"


def test_the_page_is_recomputed_and_its_images_scored_again(page: Path) -> None:
    """By Python, and on a live server."""
    verdict = verify_page(page)
    assert verdict.cells > 50 and not verdict.differences
    names = [name for report in verdict.reports for name in report.names.values()]
    assert "alice (external)" in names and "mallory" not in "".join(names)
    with service_of_two().client() as client:
        found = list(rescored(verdict.shown.images, verdict.reports, client, 20))
    assert {one.attack.split(":")[0] for one in found} >= {"external"}
    assert all(one.agrees for one in found)


def test_the_browser_computes_the_same(page: Path, tmp_path: Path) -> None:
    """Every cell of the page is marked as equal."""
    shown = document(page.read_text(encoding="utf-8"), tmp_path)
    assert "all equal" in shown
