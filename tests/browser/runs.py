"""A run of two metrics whose tables have enough lines to be filtered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.clients.report.conftest import DIM, FGSM, METRIC, NAMES, PLAN, SQUARE, record, write_images

from scoreguard_client.attacks import parse_attack
from scoreguard_client.campaign import Ledger, Record

SHARPEN = str(parse_attack("free-sharpen"))
METRICS = ("bright", "red")
GAINS = {FGSM: 20.0, SQUARE: 9.0, SHARPEN: 5.0}


def write_run(run: Path) -> Path:
    """Write the run, with the images of three of its six photos."""
    plan = replace(
        PLAN, attacks=tuple(GAINS), metrics=tuple(replace(METRIC, name=name) for name in METRICS), images=PLAN.images
    )
    records = [replace(one, metric=name) for name in METRICS for one in records_of_a_metric()]
    known = {"labels": {"none": "none", DIM: "dim"}, "transfer": False, "calibration": None, "rounding": []}
    told = {
        "metrics": {name: known | {"title": name.title(), "expected": len(records) // 2} for name in METRICS},
        "server_version": "9.8.7",
        "computation": {},
        "shown": list(NAMES[:3]),
    }
    with Ledger.create(run, plan, told) as ledger:
        ledger.add_records(records)
    for name in METRICS:
        write_images(run, name)
    return run


def records_of_a_metric() -> list[Record]:
    """Each attack behind both chains; those that search also know the second."""
    found = []
    for number in range(len(NAMES)):
        for attack, gain in GAINS.items():
            # Later images give more, so that the worst case is not the first.
            found.append(record(number, attack, "none", "none", gain + number))
            found.append(record(number, attack, DIM, "none", gain / 5))
            if attack != SHARPEN:
                found.append(record(number, attack, DIM, DIM, gain / 2 + number))
    return found
