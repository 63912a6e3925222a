"""`--degraded`: every degraded copy of every image, behind every chain, once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from tests.clients.campaign.two_metrics import options_of, records_of, run

from scoreguard_client.attacks.catalogue import kind_of
from scoreguard_client.campaign import CampaignOptions, Ledger, Record
from scoreguard_client.degradations import DEGRADATIONS
from scoreguard_client.oracles.seeds import derive_seed
from scoreguard_client.testing.service import brightness


@pytest.fixture
def degraded(tmp_path: Path) -> CampaignOptions:
    """A finished campaign with one attack, adaptive, and all copies."""
    options = options_of(tmp_path, metric="bright", attacks="square:queries=3", degraded=True)
    run(options)
    return options


def copies_of(records: list[Record]) -> list[Record]:
    """Those of degraded copies."""
    return [record for record in records if kind_of(record.attack).is_degradation]


def test_each_copy_is_scored_behind_every_chain_and_never_adapts(degraded: CampaignOptions) -> None:
    """Six kinds in three strengths of two images behind two chains; the attack besides them is adaptive too."""
    records = records_of(degraded.out)
    copies = copies_of(records)
    assert len(copies) == 6 * 3 * 2 * 2
    assert {record.attacked_through for record in copies} == {"none"}
    assert {record.chain for record in copies} == {"none", "halve"}
    assert {record.error for record in records} == {""}
    assert {record.attacked_through for record in records} == {"none", "halve"}


def test_the_scores_are_those_of_the_copies(degraded: CampaignOptions) -> None:
    """Each copy made here from the file, with the seed that a campaign derives, and scored by the metric's formula."""
    for record in copies_of(records_of(degraded.out)):
        name, _, strength = record.attack.removeprefix("degraded-").partition(":direction=up:strength=")
        file = degraded.images / record.image
        with Ledger.open(degraded.out) as ledger:
            sha256 = next(image.sha256 for image in ledger.plan.images if image.name == record.image)
        seed = derive_seed(0, "attack", record.attack, "none", sha256)
        values = DEGRADATIONS[name].apply(np.asarray(PIL.Image.open(file)), int(strength), seed=seed) / 255
        wanted = brightness(values.astype(np.float32))
        assert record.attacked_score == pytest.approx(wanted, rel=1e-6)
        assert record.attacked_defended == pytest.approx(wanted / (2 if record.chain == "halve" else 1), rel=1e-6)


def test_a_run_can_be_extended_by_copies(tmp_path: Path, degraded: CampaignOptions) -> None:
    """It then is the run that had them from the start."""
    later = replace(degraded, degraded=False, out=tmp_path / "later")
    run(later)
    assert not copies_of(records_of(later.out))
    run(replace(later, metric="", attacks="", defences="", extend=True, degraded=True))
    assert records_of(later.out) == records_of(degraded.out)
