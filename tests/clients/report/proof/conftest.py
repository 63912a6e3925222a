"""The made runs, each made once, with their tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from tests.clients.report.proof.runs import RUNS, network, plan_of, records_of, reports_of

from scoreguard_client.report import build
from scoreguard_client.report.build import Report
from scoreguard_client.report.numbers import TableOptions
from scoreguard_client.report.tables import Table, tables_of


@dataclass(frozen=True, kw_only=True)
class Made:
    """A made run."""

    reports: list[Report]
    """Its reports."""
    tables: tuple[Table, ...]
    """Their tables."""


Runs = Mapping[str, Made]


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Every made run by its name."""
    folder = tmp_path_factory.mktemp("runs")
    made = {name: make(folder / name) for name, make in RUNS.items()}
    with pytest.MonkeyPatch.context() as patch:
        # The published file has its maps' weights, which are not ours to ship.
        patch.setattr(build, "read_transform", lambda *_, **__: network())
        plan, options = plan_of(4), TableOptions(resamples=50, domain_transform="as-benchmark:maps.pt")
        made["network"] = reports_of(folder / "network", plan, list(records_of(plan, plan.metrics[0], 12)), options)
    return {name: Made(reports=reports, tables=tables_of(reports)) for name, reports in made.items()}
