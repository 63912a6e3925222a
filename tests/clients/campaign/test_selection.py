"""`all`, the only metric, and plans that list mappings."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from tests.clients.campaign.conftest import Launch

from scoreguard_client.attacks.catalogue import CATALOGUE, parse_attacks
from scoreguard_client.attacks.fgsm import FGSM
from scoreguard_client.campaign import CampaignOptions, Ledger, PlanError
from scoreguard_client.campaign.selection import written_out_attacks
from scoreguard_client.commands._plan_file import as_text


def test_all_attacks_are_those_that_run_without_a_file() -> None:
    """What is left out is named with what it needs, and every attack is in one of the two lists."""
    text, left_out = written_out_attacks("all", lambda name: False)
    names = {attack.name for attack in parse_attacks(text)}
    reasons = {entry.name: entry.error for entry in left_out}
    assert names | set(reasons) == set(CATALOGUE)
    assert names.isdisjoint(reasons)
    assert reasons["optimized-uap"] == "needs a trained perturbation: file=PATH"
    assert reasons["zhang-lpips"] == "needs weights: weights=FOLDER or weights=st-lpips"
    assert reasons["amifgsm"] == "asks the metric niqe, which is not deployed"
    assert "amifgsm" in written_out_attacks("all", lambda name: True)[0].split(",")


def test_an_attack_that_is_named_beside_all_keeps_its_parameters() -> None:
    """It is not run twice."""
    text, _ = written_out_attacks("all, fgsm:eps=1/255", lambda name: False)
    assert [str(attack) for attack in parse_attacks(text) if attack.name == "fgsm"] == [str(FGSM(eps=1 / 255))]


def test_all_defences_are_none_and_every_deployed_one(run_campaign: Launch, options: CampaignOptions) -> None:
    """Each with its defaults; the only metric needs no name."""
    run_campaign(metric="", attacks="fgsm", defences="all")
    with Ledger.open(options.out) as ledger:
        assert ledger.plan.names == ("bright",)
        assert ledger.plan.metrics[0].chains == ("none", "dim:factor=0.5:level=1", "shift")


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (["fgsm", "ifgsm:eps=2/255"], "fgsm,ifgsm:eps=2/255"),
        ([{"ifgsm": {"eps": "8/255", "iterations": 20}}, {"fgsm": None}], "ifgsm:eps=8/255:iterations=20,fgsm"),
        ([{"name": "ifgsm", "eps": 0.1}], "ifgsm:eps=0.1"),
        (["none", [{"blur": {"sigma": 1.5}}, "jpeg"]], "none,blur:sigma=1.5+jpeg"),
        ({"fgsm": None, "ifgsm": {"eps": "8/255"}}, "fgsm,ifgsm:eps=8/255"),
        ({"name": "ifgsm", "eps": "8/255"}, "ifgsm:eps=8/255"),
    ],
)
def test_a_plan_lists_texts_mappings_or_steps(written: Any, text: str) -> None:
    """All of them mean the same as the text on the command line."""
    assert as_text(yaml.safe_load(yaml.safe_dump(written))) == text


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ([{"ifgsm": {"eps": 1}, "fgsm": {}}], "no attack and no defence"),
        ([], "lists no attack or no defence"),
        ({}, "lists no attack or no defence"),
        ([{"ifgsm": 3}], "must be a mapping"),
        ([{"optimized-uap": {"file": "a:b.npy"}}], "marks"),
    ],
)
def test_a_mapping_that_means_nothing_is_refused(written: Any, said: str) -> None:
    """In one line that shows the right form."""
    with pytest.raises(PlanError, match=said):
        as_text(written)
