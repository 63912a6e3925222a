"""Whole campaigns against the small real server, whose scores can be worked out by hand."""

from __future__ import annotations

import sys
import threading
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from google.rpc import code_pb2, status_pb2
from tests.clients.campaign.conftest import quiet
from tests.clients.oracles.toy_archive import write_archive

from scoreguard.v1 import codec, scoring_pb2
from scoreguard.v1.archive import Archive
from scoreguard.v1.errors import SpecError
from scoreguard_client import Catalogue, MissingExtraError, NotFoundError, ScoringClient
from scoreguard_client.attacks import AttackSpecError, CompanionMissingError, parse_attack
from scoreguard_client.campaign import (
    CampaignOptions,
    Gradients,
    ImageRef,
    Ledger,
    Plan,
    PlanError,
    PlanMismatchError,
    PlannedMetric,
    Record,
    Runner,
    ServerGoneError,
    Summary,
    launch,
)
from scoreguard_client.campaign.gallery import image_path
from scoreguard_client.oracles.draws import AUTO, PROBES
from scoreguard_client.progress import Progress
from scoreguard_client.target.images import as_batch, find_images, read_image

Launch = Callable[..., Summary]
FGSM = "fgsm:direction=up:eps=0.0392156862745098"
DIM = "dim:factor=0.5:level=1"


def records_of(run: Path) -> list[Record]:
    """The records of a run."""
    with Ledger.open(run) as ledger:
        return ledger.records()


class Twenty(torch.nn.Module):
    """A naturalness of 20 for every image."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Score."""
        return 0 * image.mean(dim=[1, 2, 3]) + 20


def write_mar(path: Path, archive: Archive) -> None:
    """An unpacked archive as a file of a model store."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as mar:
        for file in archive.path.iterdir():
            mar.write(file, file.name)


def comparable(record: Record) -> Record:
    """A record but for its times and for the calls that were sent again."""
    return replace(record, crafting_seconds=0, scoring_seconds=0, queries=0)


def test_every_image_attack_and_chain_has_one_record_with_every_number(
    run_campaign: Launch, options: CampaignOptions
) -> None:
    """Chains are named with all parameters; `none` needs no purified image of its own."""
    summary = run_campaign()
    records = records_of(options.out)
    assert (summary.records, summary.failed, len(records)) == (5 * 2 * 3, 0, 30)
    assert {record.chain for record in records} == {"none", DIM, "shift"}
    assert {record.image for record in records} == {"a.png", "b.png", "c.png", "d.png", "more/e.png"}
    for record in records:
        missing = [name for name, value in vars(record).items() if value is None or value == ""]
        assert missing in (["flags", "error", "perceptual"], ["steps_sha256", "flags", "error", "perceptual"])


def test_the_numbers_of_a_record_are_those_of_the_arithmetic(
    run_campaign: Launch, options: CampaignOptions, photos: Path
) -> None:
    """Mean brightness rises by eps exactly, and `dim` halves it; fidelity is that of a constant shift."""
    run_campaign(attacks="fgsm", defences="none,dim:factor=0.5")
    clean = {p.name: 100 * (np.asarray(PIL.Image.open(p)) / 255).mean() for p in photos.rglob("*.png")}
    for record in records_of(options.out):
        share = 0.5 if record.chain == DIM else 1
        score = clean[Path(record.image).name]
        assert record.clean_score == pytest.approx(score, rel=1e-5)
        assert record.clean_defended == pytest.approx(share * score, rel=1e-5)
        for attacked in (record.attacked_score, record.attacked_score_8bit):
            assert attacked == pytest.approx(score + 1000 / 255, rel=1e-5)
        for attacked in (
            record.attacked_defended,
            record.attacked_defended_8bit,
        ):
            assert attacked == pytest.approx(share * (score + 1000 / 255), rel=1e-5)
        assert record.crafting_score == pytest.approx(score + 1000 / 255, rel=1e-5)
        assert record.psnr == pytest.approx(-20 * np.log10(10 / 255), rel=1e-4)
        assert record.l_inf is not None
        assert record.l_inf <= 10 / 255
        assert record.l_inf_8bit == pytest.approx(10 / 255, rel=1e-5)
        assert (record.queries, record.attack, record.adaptive) == (2, FGSM, False)
        assert record.metric_sha256 == "ab" * 32
        assert record.steps_sha256 == ("" if record.chain == "none" else "cd" * 32)


def test_adaptive_attacks_work_through_each_chain_and_are_scored_behind_it_alone(
    run_campaign: Launch, options: CampaignOptions
) -> None:
    """Their records stand beside the others and say so."""
    run_campaign(adaptive=True, attacks="fgsm")
    records = records_of(options.out)
    adaptive = {(record.attacked_through, record.chain) for record in records if record.adaptive}
    assert adaptive == {(DIM, DIM), ("shift", "shift")}
    assert {record.attacked_through for record in records if not record.adaptive} == {"none"}
    assert len(records) == 5 * (3 + 2)


def test_random_chains_are_drawn_several_times_with_seeds_of_their_own(
    run_campaign: Launch, options: CampaignOptions
) -> None:
    """Clean and attacked images do not share seeds; deterministic chains have one draw."""
    run_campaign(draws=4)
    with Ledger.open(options.out) as ledger:
        records, clean = ledger.records(), ledger.clean()
    assert {record.draw for record in records if record.chain == "shift"} == {0, 1, 2, 3}
    assert {record.draw for record in records if record.chain != "shift"} == {0}
    seeds = [record.seed for record in records] + [row.seed for row in clean]
    assert len(set(seeds)) == len(seeds)


def test_the_draws_of_crafting_may_follow_from_the_gradients_spread(
    run_campaign: Launch, options: CampaignOptions
) -> None:
    """This chain draws without moving the gradient: eight probes say that one draw is enough, and they are counted."""
    run_campaign(adaptive=True, attacks="fgsm,square:queries=5", defences="none,shift", crafting_draws=AUTO)
    records = records_of(options.out)
    spent = {(record.attack.partition(":")[0], record.attacked_through): record.queries for record in records}
    assert spent == {("fgsm", "none"): 2, ("fgsm", "shift"): 2 + PROBES, ("square", "none"): 5, ("square", "shift"): 5}


def test_running_again_asks_the_server_for_nothing_but_the_catalogue(
    run_campaign: Launch, options: CampaignOptions, running: Any
) -> None:
    """What is written is not done again."""
    first = run_campaign()
    before = records_of(options.out)
    running.service.requests.clear()
    assert run_campaign() == first
    assert [type(request).__name__ for request in running.service.requests] == ["ListMetricsRequest"]
    assert records_of(options.out) == before


def test_a_failed_call_is_written_down_with_its_cause_and_tried_again_on_the_next_run(
    run_campaign: Launch, options: CampaignOptions, running: Any
) -> None:
    """The other records are there, and afterwards nothing tells of the failure."""
    failures = [status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="queue full")]

    def refuse_one_rounded_image(request: Any) -> status_pb2.Status | None:
        image = getattr(request, "image", None)
        rounded = image is not None and image.tensor.data_type == scoring_pb2.DATA_TYPE_UINT8
        return failures.pop() if rounded and failures else None

    def fail_after_clean(runner: Runner) -> Progress:
        def progress(steps: int, what: str) -> None:
            if what.startswith("fgsm"):
                running.service.refuse = refuse_one_rounded_image

        return progress

    summary = run_campaign(fail_after_clean, attacks="fgsm")
    assert 0 < summary.failed < 15
    assert "queue full" in summary.first_error
    again = run_campaign(attacks="fgsm")
    assert (again.records, again.failed) == (15, 0)


def test_a_failed_clean_score_fails_its_records_and_both_are_mended_by_the_next_run(
    run_campaign: Launch, running: Any
) -> None:
    """A record never lacks a number silently."""

    def fail_first(runner: Runner) -> Progress:
        running.service.failures.append(status_pb2.Status(code=code_pb2.INTERNAL, message="worker died"))
        return lambda steps, what: None

    summary = run_campaign(fail_first, attacks="fgsm")
    assert summary.failed > 0
    assert "worker died" in summary.first_error
    assert run_campaign(attacks="fgsm").failed == 0


def test_a_server_that_goes_away_stops_the_campaign_and_what_was_done_is_kept(
    run_campaign: Launch, options: CampaignOptions, running: Any, start_server: Any
) -> None:
    """What it was doing is written down as failed; another server with the same archive finishes the run."""

    def stop_later(runner: Runner) -> Progress:
        def progress(steps: int, what: str) -> None:
            if what.startswith("square"):
                running.stop()

        return progress

    with pytest.raises(ServerGoneError, match=r"stayed away for 0\.3 s"):
        run_campaign(stop_later, patience=0.3)
    everything = records_of(options.out)
    kept = [record for record in everything if not record.error]
    assert 0 < len(kept) < len(everything) < 30
    running.target = start_server().target
    assert run_campaign().records == 30
    assert set(kept) <= set(records_of(options.out))


def test_a_server_that_restarts_is_waited_for_and_nothing_is_missing(
    run_campaign: Launch, options: CampaignOptions, running: Any, start_server: Any
) -> None:
    """The run goes on where it was: the records are those of a run without the restart."""
    attacks = "fgsm,ifgsm:iterations=3"
    assert run_campaign(out=options.out.with_name("quiet"), attacks=attacks).failed == 0
    port = int(running.target.rsplit(":", 1)[1])
    stopped: list[str] = []

    def restart_once(runner: Runner) -> Progress:
        def progress(steps: int, what: str) -> None:
            if what.startswith("ifgsm") and not stopped:
                stopped.append(what)
                running.stop()
                threading.Timer(1.0, start_server, kwargs={"port": port}).start()

        return progress

    summary = run_campaign(restart_once, attacks=attacks, patience=20.0)
    assert stopped
    assert (summary.records, summary.failed) == (30, 0)
    assert [comparable(record) for record in records_of(options.out)] == [
        comparable(record) for record in records_of(options.out.with_name("quiet"))
    ]


@pytest.mark.parametrize("attack", ["square:queries=5", "fgsm"])
def test_one_image_that_cannot_be_attacked_fails_alone(
    attack: str, run_campaign: Launch, options: CampaignOptions, running: Any
) -> None:
    """The others of its batch are attacked, and the next run mends the one."""
    refused = as_batch([read_image(options.images, find_images(options.images).images[0])])[0].transpose(1, 2, 0)

    def refuse(request: Any) -> status_pb2.Status | None:
        image = getattr(request, "image", None)
        if image is None or image.tensor.data_type != scoring_pb2.DATA_TYPE_FLOAT32:
            return None
        values = codec.from_tensor(image.tensor)
        same = values.shape == refused.shape and np.abs(values - refused).max() < 0.2
        return status_pb2.Status(code=code_pb2.DEADLINE_EXCEEDED, message="too slow") if same else None

    def refuse_later(runner: Runner) -> Progress:
        running.service.refuse = refuse
        return lambda steps, what: None

    summary = run_campaign(refuse_later, attacks=attack, defences="none")
    failed = {record.image for record in records_of(options.out) if record.error}
    assert failed == {"a.png"}
    assert summary.records == 4
    assert "too slow" in summary.first_error
    running.service.refuse = lambda request: None
    again = run_campaign(attacks=attack, defences="none")
    assert (again.records, again.failed) == (5, 0)


def test_images_are_kept_for_the_first_three_and_exact_arrays_only_where_all_is_kept(
    run_campaign: Launch, options: CampaignOptions, tmp_path: Path
) -> None:
    """The PNG of an attacked image is its 8-bit form inside the budget."""
    run_campaign()
    clean = np.asarray(PIL.Image.open(image_path(options.out, "a.png"))).astype(int)
    kept = image_path(options.out, "a.png", metric="bright", attack=FGSM, attacked_through="none")
    attacked = np.asarray(PIL.Image.open(kept)).astype(int)
    assert np.all(attacked - clean == 10)
    assert image_path(options.out, "c.png", metric="bright", attack=FGSM, attacked_through="none", chain=DIM).is_file()
    assert not image_path(options.out, "d.png").exists()
    assert not list(options.out.glob("images/batches/*"))
    everything = tmp_path / "everything"
    run_campaign(out=everything, keep_all=True)
    assert image_path(everything, "d.png").is_file()
    assert len(list(everything.glob("images/batches/*.npz"))) == 2 * 3


def test_an_attacked_batch_on_disk_is_not_crafted_again_unless_it_is_damaged(
    run_campaign: Launch, options: CampaignOptions, running: Any
) -> None:
    """After a failure only scores are asked for; a file that was cut short costs the attack's queries once more."""
    sent: list[bytes] = []

    def refuse_the_attacked_image(request: Any) -> status_pb2.Status | None:
        """The first image of 8 bits is the clean one, the second the attacked one."""
        tensor = getattr(request, "image", scoring_pb2.Image()).tensor
        if tensor.data_type == scoring_pb2.DATA_TYPE_UINT8:
            sent.append(tensor.data)
        return status_pb2.Status(code=code_pb2.INTERNAL, message="chain failed") if len(sent) == 2 else None

    changes = {"attacks": "square:queries=50", "limit": 1, "defences": "none"}
    for damaged in (False, True):
        out = options.out / str(damaged)
        sent.clear()
        running.service.refuse = refuse_the_attacked_image
        assert run_campaign(out=out, **changes).failed == 1
        running.service.refuse = lambda request: None
        (batch,) = out.glob("images/batches/*.npz")
        if damaged:
            batch.write_bytes(batch.read_bytes()[:200])
        running.service.requests.clear()
        assert run_campaign(out=out, **changes).failed == 0
        # The catalogue, and the attacked image as float and as 8 bits.
        assert len(running.service.requests) == 3 + (50 if damaged else 0)
        assert not batch.exists()


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"attacks": "ifgms"}, AttackSpecError, "did you mean ifgsm"),
        ({"defences": "dim:"}, SpecError, "dim:"),
        ({"defences": "dmi"}, NotFoundError, "did you mean dim"),
        ({"defences": "dim:fator=1"}, PlanError, "it takes factor"),
        ({"defences": "dim:factor=2"}, PlanError, "out of range: 0 to 1"),
        ({"defences": "dim:level=2"}, PlanError, "one of 1, 3"),
        ({"metric": "brigth"}, NotFoundError, "did you mean bright"),
        ({"attacks": "fgsm,dct-threshold"}, PlanError, "needs a chain whose first step is jpeg or quantise: add one"),
        ({"attacks": "dct-threshold", "adaptive": True}, PlanError, "to --defences, and give --adaptive"),
    ],
)
def test_what_cannot_be_planned_is_refused_before_anything_is_written(
    changes: dict[str, Any], error: type[Exception], said: str, run_campaign: Launch, options: CampaignOptions
) -> None:
    """One line that says what would do."""
    with pytest.raises(error) as caught:
        run_campaign(**changes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not options.out.exists()


def test_an_attack_works_through_those_chains_alone_that_it_fits() -> None:
    """Pushing over thresholds needs to know a chain that begins with rounding; other attacks take every chain."""
    chains = (
        "none",
        "jpeg:quality=50:subsampling=4:2:0",
        "blur:kernel=3:sigma=0+quantise:levels=16",
        "quantise:levels=8",
    )
    pushes, fgsm = (str(parse_attack(text)) for text in ("dct-threshold", "fgsm"))
    metric = PlannedMetric(
        name="bright",
        archive_sha256="",
        range_low=0,
        range_high=100,
        higher_is_better=True,
        chains=chains,
        gradients="live",
    )
    plan = Plan(
        metrics=(metric,),
        attacks=(fgsm, pushes),
        adaptive=True,
        images=(ImageRef(name="a.png", sha256="", height=8, width=8),),
        seed=0,
        draws=1,
        crafting_draws=1,
        batch=1,
    )
    through = {attack: [u.attacked_through for u in plan.units() if str(u.attack) == attack] for attack in plan.attacks}
    assert through == {fgsm: list(chains), pushes: [chains[1], chains[3]]}
    assert not [u for u in replace(plan, adaptive=False).units() if str(u.attack) == pushes]


def test_a_folder_without_images_is_refused(run_campaign: Launch, photos: Path, tmp_path: Path) -> None:
    """The path is in the message."""
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(PlanError, match="holds no image"):
        run_campaign(images=empty)
    with pytest.raises(PlanError, match="not a folder"):
        run_campaign(images=photos / "a.png")


def test_an_image_that_changes_during_a_campaign_fails_its_records_only(
    run_campaign: Launch, options: CampaignOptions, photos: Path
) -> None:
    """It is not the image of the plan any more."""

    def change(runner: Runner) -> Progress:
        PIL.Image.new("RGB", (20, 9)).save(photos / "more/e.png")
        return lambda steps, what: None

    run_campaign(change, batch=1)
    failed = {record.image for record in records_of(options.out) if record.error}
    assert failed == {"more/e.png"}


def test_another_plan_in_the_directory_is_refused(run_campaign: Launch) -> None:
    """The difference is named."""
    run_campaign(attacks="fgsm")
    with pytest.raises(PlanMismatchError, match="seed: 0 there, 1 here"):
        run_campaign(attacks="fgsm", seed=1)


def test_a_limit_takes_the_first_images_by_name(run_campaign: Launch, options: CampaignOptions) -> None:
    """Sorted by path."""
    run_campaign(limit=2, attacks="fgsm")
    assert {record.image for record in records_of(options.out)} == {"a.png", "b.png"}


def test_gradient_attacks_need_a_source_of_gradients(options: CampaignOptions, running: Any) -> None:
    """A server without gradients is refused at planning, where no archive is at hand; Square still runs."""

    class WithoutGradients(ScoringClient):
        def list_metrics(self, *, timeout: float | None = None) -> Catalogue:
            return replace(super().list_metrics(timeout=timeout), gradients=False)

    with WithoutGradients(running.target) as client:
        for gradients in (None, Gradients.LIVE):
            with pytest.raises(PlanError, match="gives no gradients"):
                launch(replace(options, gradients=gradients), client, quiet)
        with pytest.raises(PlanError, match="needs --surrogate"):
            launch(replace(options, gradients=Gradients.LOCAL), client, quiet)
        assert launch(replace(options, attacks="square:queries=3"), client, quiet).failed == 0


def test_a_metric_that_an_attack_asks_besides_comes_from_beside_the_surrogate(
    run_campaign: Launch, options: CampaignOptions, tmp_path: Path
) -> None:
    """AMI-FGSM's bound follows the local archive's answer, and the plan names that archive."""
    metric = torch.jit.script(Twenty())
    write_mar(tmp_path / "store" / "niqe.mar", write_archive(tmp_path / "niqe", metric, "niqe"))
    run_campaign(attacks="amifgsm", defences="none", surrogate=tmp_path / "store")
    records = records_of(options.out)
    with Ledger.open(options.out) as ledger:
        (companion,) = ledger.plan.metrics[0].companions
    assert companion.startswith("niqe:local:")
    assert len(records) == 5
    assert all(record.l_inf == pytest.approx(10 / 255, rel=1e-4) for record in records)
    run_campaign(attacks="amifgsm:k=0.2", defences="none", surrogate=tmp_path / "store", out=tmp_path / "tight")
    assert all(record.l_inf == pytest.approx(0.01, rel=1e-4) for record in records_of(tmp_path / "tight"))


def test_a_metric_that_is_nowhere_to_be_asked_is_named_before_anything_runs(
    run_campaign: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that says how to get it; no model store lies in the working folder."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CompanionMissingError, match="scoreguard-export build --metrics niqe"):
        run_campaign(attacks="amifgsm")


def test_a_universal_perturbation_is_pinned_by_its_digest_and_not_crafted_again_for_each_chain(
    run_campaign: Launch, options: CampaignOptions, tmp_path: Path
) -> None:
    """The plan holds the digest, one question is asked, and adaptive campaigns do not pretend that it adapts."""
    np.save(tmp_path / "bright.npy", np.full((3, 8, 8), 0.1, dtype=np.float32))
    attack = f"optimized-uap:file={tmp_path / 'bright.npy'}:amplitude=0.5"
    run_campaign(attacks=attack, adaptive=True, defences="none,dim")
    records = records_of(options.out)
    assert len(records) == 10
    assert not any(record.adaptive for record in records)
    assert all("digest=" in record.attack and len(record.attack.split("digest=")[1]) == 64 for record in records)
    for record in records:
        assert record.queries == 1
        assert record.attacked_score == pytest.approx((record.clean_score or 0) + 5, rel=1e-4)
    np.save(tmp_path / "bright.npy", np.full((3, 8, 8), 0.2, dtype=np.float32))
    with pytest.raises(PlanMismatchError):
        run_campaign(attacks=attack, adaptive=True, defences="none,dim")


def test_an_everyday_edit_is_made_once_and_scored_behind_every_chain(
    run_campaign: Launch, options: CampaignOptions
) -> None:
    """It needs no gradients and knows no chain; the best edit of a chain is searched through that chain."""
    run_campaign(
        attacks="free-contrast,free-contrast:factor=1.5,free-best:queries=3",
        adaptive=True,
        defences="none,dim",
        gradients=None,
    )
    records = records_of(options.out)
    edits = [record for record in records if record.attack.startswith("free-contrast")]
    assert len(edits) == 2 * 5 * 2
    assert not any(record.adaptive for record in edits)
    assert {record.queries for record in edits} == {1}
    assert all(record.ssim is not None and record.ssim >= 0.75 for record in edits)
    best = [record for record in records if record not in edits]
    places = {(record.chain.partition(":")[0], record.adaptive) for record in best}
    assert places == {("none", False), ("dim", False), ("dim", True)}
    assert {record.queries for record in best} == {3}


def test_a_missing_extra_is_no_failed_record(
    run_campaign: Launch, options: CampaignOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without torch the campaign stops with what to install instead of failing every record."""
    surrogate = write_archive(tmp_path / "energy").path
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match="attacks"):
        run_campaign(gradients=None, surrogate=surrogate)


def test_a_local_surrogate_of_another_metric_makes_a_transfer_attack(
    run_campaign: Launch, options: CampaignOptions, tmp_path: Path
) -> None:
    """Images are crafted on the archive's metric and scored by the server's; chains that it lacks fail alone."""
    surrogate = write_archive(tmp_path / "energy").path
    run_campaign(gradients=None, surrogate=surrogate, attacks="fgsm", adaptive=True)
    with Ledger.open(options.out) as ledger:
        records, facts, plan = ledger.records(), ledger.facts, ledger.plan
    assert facts["metrics"]["bright"]["transfer"] is True
    assert plan.metrics[0].gradients.startswith("local:energy:")
    for record in records:
        if record.adaptive:
            assert "no defence" in record.error
        else:
            assert record.attacked_score == pytest.approx((record.clean_score or 0) + 1000 / 255, rel=1e-5)
