"""What a page embeds: the reports come back from it whole, in equal bytes, and few of them."""

from __future__ import annotations

import base64
import gzip
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from tests.clients.report.conftest import FGSM, METRIC
from tests.clients.report.proof.conftest import Runs
from tests.clients.report.proof.runs import RUNS, plan_of, records_of

from scoreguard_client.report.proof import PageError, payload
from scoreguard_client.report.proof.encoding import FIELDS, decoded, encoded
from scoreguard_client.report.proof.maps import SCORES
from scoreguard_client.report.proof.payload import LAYOUT, digest, packed
from scoreguard_client.report.proof.restore import restored, unpacked
from scoreguard_client.report.tables import tables_of

NAMES = [*RUNS, "network"]


@pytest.mark.parametrize("name", NAMES)
def test_the_tables_of_the_embedded_records_are_those_of_the_run(name: str, runs: Runs) -> None:
    """Every estimate, name, sentence and digit; and embedding again gives the same bytes."""
    made = runs[name]
    text = payload(made.reports, made.tables)
    back = restored(unpacked(text))
    tables = tables_of(back)
    assert repr(tables) == repr(made.tables)
    assert payload(back, tables) == text
    assert back[0].plan == made.reports[0].plan


def test_the_text_can_be_read_without_this_project(runs: Runs) -> None:
    """Two lines of JSON under gzip and base64; the first has the digest of the second."""
    head, _, content = gzip.decompress(base64.b64decode(payload(runs["few"].reports))).decode().partition("\n")
    assert json.loads(head) == {"layout": LAYOUT, "sha256": digest(content)}
    told = json.loads(content)
    records = runs["few"].reports[0].records
    column = told["metrics"][0]["records"]["image"]
    assert [column["values"][place] for place in column["places"]] == [record.image for record in records]
    assert told["constants"]["least_images"] == 30
    assert told["attacks"][FGSM]["name"] == "FGSM"
    assert "Ada & co (external)" in {attack["name"] for attack in told["attacks"].values()}


def test_a_network_is_embedded_as_what_it_made_of_each_score(runs: Runs) -> None:
    """A browser cannot run it, so the page says which it was, and every score that it met."""
    report = runs["network"].reports[0]
    (told,) = unpacked(payload(runs["network"].reports, runs["network"].tables))["metrics"]
    assert told["transform"]["transformed_by"]["origin"] == "as-benchmark: the published network"
    known = dict(zip(told["transform"]["looked_up"]["scores"], told["transform"]["looked_up"]["mapped"], strict=True))
    met = {getattr(record, name) for record in report.records for name in SCORES}
    assert set(known) == met
    assert report.transform is not None
    some = np.array(sorted(met)[:5])
    assert [known[score] for score in some.tolist()] == report.transform.apply(some).tolist()


def test_a_score_that_no_network_met_is_refused(runs: Runs) -> None:
    """Its map is not in the page."""
    (back,) = restored(unpacked(payload(runs["network"].reports, runs["network"].tables)))
    assert back.transform is not None
    with pytest.raises(PageError, match=r"does not say what 123\.5 maps to"):
        back.transform.apply(np.array([123.5]))


@pytest.mark.parametrize(
    "values",
    [
        [0.1, 0.1, 0.1, -0.0, 0.0],
        [0.1, 1 / 3, 1e-310, 5e-324, 1.7976931348623157e308],
        [float(np.float32(value)) for value in (0.1, 1 / 3, 1e-40, 3.4e38, 16_777_217, -0.0)],
        [math.inf, -math.inf, 0.5, None, None],
        [None] * 4,
        [2.0, 7, 2, 2.5],
    ],
)
def test_numbers_come_back_to_the_last_bit(values: list[float | None]) -> None:
    """Whether they are float32 or not, come again or not, are finite or not."""
    plan = plan_of(1)
    record = next(records_of(plan, plan.metrics[0], 0))
    records = [replace(record, psnr=value) for value in values]
    back = decoded(json.loads(json.dumps(encoded(records), allow_nan=False)), METRIC.name)
    assert [repr(each.psnr) for each in back] == [repr(value) for value in values]


def test_every_field_that_a_table_reads_comes_back() -> None:
    """All columns, of sound and of failed records."""
    plan = plan_of(3)
    records = list(records_of(plan, plan.metrics[0], 0))
    records[4] = replace(records[4], error="worker died", clean_score=None)
    back = decoded(encoded(records), METRIC.name)
    names = [name for name in FIELDS if name != "failed"]
    assert [[getattr(each, name) for name in names] for each in back] == [
        [getattr(each, name) for name in names] for each in records
    ]
    assert [bool(each.error) for each in back] == [index == 4 for index in range(len(records))]


def test_ten_thousand_records_are_a_megabyte(runs: Runs) -> None:
    """Of scores in float32, and of fidelities that differ for every record, in full."""
    plan = plan_of(358)
    records = list(records_of(plan, plan.metrics[0], 1))
    assert 10_000 <= len(records) < 10_100
    report = replace(runs["few"].reports[0], plan=plan, records=tuple(records))
    size = len(payload([report], runs["few"].tables))
    assert size < 1_500_000


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("", "cut or changed"),
        ("no base64!", "cut or changed"),
        ("AAAA", "cut or changed"),
        (packed("{}")[:-8], "cut or changed"),
        (base64.b64encode(gzip.compress(b"[1]\n{}")).decode(), "cut or changed"),
        (base64.b64encode(gzip.compress(b"no JSON")).decode(), "cut or changed"),
        (packed("{}", layout=99), "layout 99, and this version reads 1"),
        (packed("{}", sha256="0" * 64), "do not have the digest that it states"),
        (packed("{"), "no JSON"),
        (packed("[]"), "no object"),
    ],
)
def test_a_text_that_was_cut_or_changed_is_refused_in_one_line(broken: str, why: str) -> None:
    """And says what to do."""
    with pytest.raises(PageError, match=why) as refused:
        unpacked(broken)
    assert "make the page again" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("lost", ["plan", "metrics", "options", "attack", "column", "length", "name"])
def test_a_content_that_lacks_something_is_refused_in_one_line(lost: str, runs: Runs) -> None:
    """Whatever it is."""
    content = unpacked(payload(runs["few"].reports, runs["few"].tables))
    records = content["metrics"][0]["records"]
    if lost in content:
        del content[lost]
    elif lost == "attack":
        records["attack"]["values"][0] = "no-such-attack:eps=1"
    elif lost == "column":
        del records["chain"]
    elif lost == "length":
        records["psnr"]["values"] = records["psnr"]["values"][:3]
    else:
        content["metrics"][0]["name"] = "another"
    with pytest.raises(PageError) as refused:
        restored(content)
    assert "\n" not in str(refused.value)


def test_a_page_of_no_metric_is_refused(runs: Runs) -> None:
    """There would be nothing to verify."""
    content = unpacked(payload(runs["few"].reports, runs["few"].tables))
    with pytest.raises(PageError, match="records of no metric"):
        restored(content | {"metrics": []})
