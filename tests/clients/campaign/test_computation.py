"""The device of local gradients: part of a run's identity and of its provenance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from second_device import SECOND_DEVICE, second_device
from tests.clients.campaign.conftest import Launch
from tests.clients.campaign.test_ledger import PLAN
from tests.clients.oracles.toy_archive import write_archive

from scoreguard.v1.errors import DeviceError
from scoreguard_client.campaign import CampaignOptions, Gradients, Ledger, Plan, PlanError, PlanMismatchError
from scoreguard_client.oracles import SurrogateError
from scoreguard_client.oracles.computing import Computing

LAZY = "lazy, deterministic, fp32, batch 16"


@pytest.fixture
def local(options: CampaignOptions, tmp_path: Path) -> dict[str, object]:
    """Options of a campaign with local gradients on the second device."""
    second_device()
    surrogate = write_archive(tmp_path / "energy").path
    return {
        "gradients": None,
        "surrogate": surrogate,
        "attacks": "fgsm,ifgsm",
        "computing": Computing(device=SECOND_DEVICE),
        "out": options.out,
    }


def test_a_run_records_the_device_of_its_gradients(run_campaign: Launch, local: dict[str, object]) -> None:
    """The plan names what decides the numbers, the facts everything else."""
    summary = run_campaign(**local)
    assert summary.failed == 0
    with Ledger.open(Path(str(local["out"]))) as ledger:
        assert ledger.plan.computation == LAZY
        known = ledger.facts["computation"]
        assert {name: known[name] for name in ("device", "deterministic", "tf32", "precision", "batch")} == {
            "device": SECOND_DEVICE,
            "deterministic": True,
            "tf32": False,
            "precision": "fp32",
            "batch": 16,
        }


def test_the_records_are_those_of_the_cpu(run_campaign: Launch, local: dict[str, object], tmp_path: Path) -> None:
    """Attacks on the device reach the scores that they reach on the host."""
    elsewhere = tmp_path / "cpu"
    run_campaign(**local)
    run_campaign(**local | {"computing": Computing(), "out": elsewhere})
    with Ledger.open(Path(str(local["out"]))) as there, Ledger.open(elsewhere) as here:
        pairs = list(zip(there.records(), here.records(), strict=True))
    assert pairs
    for one, other in pairs:
        assert one.attacked_score == pytest.approx(other.attacked_score, abs=0.05)
        assert one.queries == other.queries


@pytest.mark.parametrize(
    ("computing", "named"),
    [
        (Computing(), "cpu"),
        (Computing(device=SECOND_DEVICE, tf32=True), "lazy, deterministic, fp32, TF32, batch 16"),
        (Computing(device=SECOND_DEVICE, deterministic=False), "lazy, not deterministic, fp32, batch 16"),
        (Computing(device=SECOND_DEVICE, batch=4), "lazy, deterministic, fp32, batch 4"),
        (Computing(batch=4), "cpu, batch 4"),
        (Computing(precision="fp16", half_gradients=True), "cpu, fp16"),
    ],
)
def test_a_run_is_not_resumed_with_another_computation(
    run_campaign: Launch, local: dict[str, object], computing: Computing, named: str
) -> None:
    """Records of two computations must not mix; the message is one line that names both."""
    run_campaign(**local)
    with pytest.raises(PlanMismatchError) as caught:
        run_campaign(**local | {"computing": computing})
    assert f"computation: {LAZY} there, {named} here" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_plan_names_the_computation() -> None:
    """Another one makes another plan."""
    assert Plan.from_json(PLAN.canonical_json()).computation == "cpu"
    other = replace(PLAN, computation=LAZY)
    assert Plan.from_json(other.canonical_json()) == other
    assert other.digest != PLAN.digest


def test_operations_that_do_not_repeat_are_noted_once(run_campaign: Launch, local: dict[str, object]) -> None:
    """Each note adds to those before; nothing new writes nothing."""
    run_campaign(**local)
    with Ledger.open(Path(str(local["out"]))) as ledger:
        assert ledger.facts["computation"]["unrepeatable"] == []
        for names in (["b"], [], ["a", "b"]):
            ledger.add_unit((), names)
        assert ledger.facts["computation"]["unrepeatable"] == ["a", "b"]
        assert ledger.facts["server_version"]


@pytest.mark.parametrize("gradients", [Gradients.LIVE, None])
def test_a_device_without_local_gradients_is_refused(run_campaign: Launch, gradients: Gradients | None) -> None:
    """The server chooses its own device, and an attack by scores needs none here."""
    attacks = "square:queries=5" if gradients is None else "fgsm"
    with pytest.raises(PlanError, match="--device and the options beside it are for gradients from an archive"):
        run_campaign(attacks=attacks, gradients=gradients, computing=Computing(device="cuda"))


def test_half_precision_is_refused_before_any_work(run_campaign: Launch, local: dict[str, object]) -> None:
    """It must be allowed for gradients; a device that is not there is named just as early."""
    with pytest.raises(SurrogateError, match="add --half-gradients"):
        run_campaign(**local | {"computing": Computing(precision="fp16")})
    with pytest.raises(DeviceError):
        run_campaign(**local | {"computing": Computing(device="cuda:99")})
    assert not Path(str(local["out"])).exists()
