"""Several metrics in one campaign: each attacked on its own, with the draws that it would have alone."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from tests.clients.campaign.two_metrics import options_of, records_of, run, service_of_two

from scoreguard.support import console
from scoreguard.v1.errors import ContractError
from scoreguard_client import NotFoundError, ScoreguardError
from scoreguard_client.campaign import Ledger, PlanError, RunError, ServerGoneError
from scoreguard_client.campaign.endpoint import Endpoint
from scoreguard_client.cli import command
from scoreguard_client.report import TableOptions, make_reports, read_report
from scoreguard_client.report.writers import read_tables

QUICK = TableOptions(resamples=20)


def test_two_metrics_in_one_run_have_the_records_of_two_runs(tmp_path: Path) -> None:
    """To the last bit, seeds included: a metric's numbers do not depend on the others."""
    assert run(options_of(tmp_path)).records == 2 * 2 * 2 * 3  # images, metrics, attacks, (none, halve, halve aware)
    alone = []
    for metric in ("bright", "red"):
        run(options_of(tmp_path, metric=metric, out=tmp_path / metric))
        alone += records_of(tmp_path / metric)
    together = records_of(tmp_path / "run")
    assert together == alone
    seeds = [{r.key[1:]: r.seed for r in together if r.metric == metric} for metric in ("bright", "red")]
    assert seeds[0] == seeds[1]


def test_each_metric_is_attacked_by_its_own_gradient(tmp_path: Path) -> None:
    """Only the red channel moves the second metric, so only it is changed."""
    run(options_of(tmp_path, attacks="ifgsm:iterations=3", keep_all=True))
    found = {(r.metric, r.psnr) for r in records_of(tmp_path / "run") if r.attacked_through == "none"}
    by_metric = {
        metric: sorted(psnr for name, psnr in found if name == metric and psnr) for metric in ("bright", "red")
    }
    # A third of the values changes by the same amount: a third of the squared error.
    assert by_metric["red"] == pytest.approx([psnr + 4.771 for psnr in by_metric["bright"]], abs=0.05)


def test_the_plan_holds_what_depends_on_each_metric(tmp_path: Path) -> None:
    """Archive, range with its source, chains and the source of gradients; the versions stand beside it."""
    run(options_of(tmp_path))
    with Ledger.open(tmp_path / "run") as ledger:
        plan, facts = ledger.plan, ledger.facts
    assert plan.names == ("bright", "red")
    for metric in plan.metrics:
        assert len(metric.archive_sha256) == 64
        assert (metric.range_low, metric.range_high, metric.higher_is_better) == (0, 100, True)
        assert (metric.range_source, metric.chains, metric.gradients) == ("declared", ("none", "halve"), "live")
    assert plan.metric("bright").archive_sha256 != plan.metric("red").archive_sha256
    assert facts["client_version"]
    assert facts["server_version"]


def test_each_metric_has_its_own_table_and_all_are_on_one_page(tmp_path: Path) -> None:
    """The tables of all, with a column for the metric, stand beside the page."""
    run(options_of(tmp_path))
    reports = make_reports(tmp_path / "run", QUICK)
    assert [report.metric.name for report in reports] == ["bright", "red"]
    for report in reports:
        assert {record.metric for record in report.records} == {report.metric.name}
        assert [(row.images, row.failed) for row in report.rows] == [(2, 0)] * 6
        assert not [text for text in report.cautions if "not finished" in text]
        assert not (tmp_path / "run/report" / report.metric.name / "index.html").exists()
        assert list((tmp_path / "run/report" / report.metric.name).glob("attack-*.png"))
    with (tmp_path / "run/report/table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["metric"] for row in rows] == ["bright"] * 6 + ["red"] * 6
    tables, _ = read_tables(tmp_path / "run/report/tables.json")
    assert [table.key for table in tables][:3] == ["leaderboard:bright", "leaderboard:red", "metrics"]
    assert all(name in report.papers for report in reports for name in (report.metric.name, "halve"))
    page = (tmp_path / "run/report/index.html").read_text("utf-8")
    assert all(f'data-table="robustness:{name}"' in page for name in ("bright", "red"))
    with pytest.raises(RunError, match=r"several metrics \(bright, red\)"):
        read_report(tmp_path / "run", QUICK)


def test_the_command_prints_a_table_for_each_metric(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And one JSON object that holds them."""
    run(options_of(tmp_path))
    for words in ([], ["--json"]):
        argv = ["report", str(tmp_path / "run"), "--resamples", "20", *words]
        assert console.run(command, errors=(ScoreguardError, ContractError), argv=argv) == 0
        printed = capsys.readouterr().out
        if words:
            assert [table["metric"] for table in json.loads(printed)["metrics"]] == ["bright", "red"]
        else:
            assert printed.count("robustness") == 2


def test_an_attack_that_a_metric_cannot_serve_is_refused_with_both_names(tmp_path: Path) -> None:
    """Before anything is written."""
    with pytest.raises(PlanError, match="'ifgsm' needs gradients of bright: this server gives no gradients"):
        run(options_of(tmp_path), service_of_two(gradients={}))
    with pytest.raises(NotFoundError, match="'rde': did you mean red"):
        run(options_of(tmp_path, metric="bright,rde"))
    with pytest.raises(NotFoundError, match="name the metric: deployed: bright, red"):
        run(options_of(tmp_path, metric=""))
    assert not (tmp_path / "run").exists()


def test_a_metric_that_is_named_twice_is_attacked_once(tmp_path: Path) -> None:
    """Spaces around names do not count."""
    assert (
        run(options_of(tmp_path, metric="red, bright ,red", attacks="ifgsm:iterations=1", adaptive=False)).records == 8
    )


def test_a_server_that_comes_back_with_another_archive_of_a_metric_ends_the_run() -> None:
    """Each endpoint checks its own metric."""
    with service_of_two().client() as client:
        red = client.list_metrics().metric("red")
        Endpoint(client, "red", red.archive_sha256).wait(1)
        with pytest.raises(ServerGoneError, match="another archive of bright"):
            Endpoint(client, "bright", red.archive_sha256).wait(1)
