"""The shipped metric in the caller's process: gradients beside a gateway's, and a campaign."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from live_servers import running_server
from PIL import Image

from scoreguard.chain.rounding import Rounding
from scoreguard_client import NotDeployedError, ScoringClient, ServerError, UnsupportedError, local
from scoreguard_client.cli import main
from scoreguard_client.oracles.live import LiveGradientOracle
from scoreguard_export.archive.build import BuildConfig, build
from scoreguard_handlers.config import ServeConfig

pytestmark = pytest.mark.timeout(600)  # one of them builds a model store, and one runs two campaigns
FLOATS = np.random.default_rng(3).random((66, 73, 3), dtype=np.float32)
CHAINS = ["", "blur:kernel=3", "jpeg:quality=60", "noise+jpeg", "resize:scale=0.5"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped metric and a few defences: exact, straight-through, random, and one that leaves the size."""
    folder = tmp_path_factory.mktemp("few") / "model_store"
    defences = ("blur", "jpeg", "noise", "resize")
    build(BuildConfig(metrics=("lite",), defences=defences, model_store=folder, default_variants=True))
    return folder


@pytest.fixture(scope="module")
def here(store: Path) -> Iterator[ScoringClient]:
    """A client of the shipped metric in this process."""
    with local(store, workers=2) as client:
        yield client


@pytest.fixture(scope="module")
def wired(store: Path) -> Iterator[ScoringClient]:
    """A client of a gateway with the local backend and gradients."""
    config = ServeConfig(model_store=store, backend="local", port=0, workers=2, gradients=True)
    with running_server(config) as server, ScoringClient(server.gateway.address) as client:
        yield client


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("rounding", list(Rounding))
def test_a_gradient_is_the_gateways_to_the_last_bit(
    chain: str, rounding: Rounding, here: ScoringClient, wired: ScoringClient
) -> None:
    """Score, derivative and provenance, whatever number of threads the caller's own torch has."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        mine = here.gradient(FLOATS, metric="lite", defences=chain, seed=4, rounding=rounding)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    theirs = wired.gradient(FLOATS, metric="lite", defences=chain, seed=4, rounding=rounding)
    assert (mine.score, mine.gradient.tobytes(), mine.provenance) == (
        theirs.score, theirs.gradient.tobytes(), theirs.provenance,
    )  # fmt: skip
    assert np.abs(mine.gradient).max() > 0


def test_a_gradient_that_cannot_be_had_is_refused_alike(here: ScoringClient, wired: ScoringClient) -> None:
    """Unknown names, and images that are too small."""
    for defences, image in [("blurr", FLOATS), ("", FLOATS[:4, :4]), ("blur:kernel=4", FLOATS)]:
        refusals = []
        for client in (here, wired):
            with pytest.raises(ServerError) as caught:
                client.gradient(image, metric="lite", defences=defences, seed=4)
            refusals.append((type(caught.value), caught.value.reason, caught.value.field, str(caught.value)))
        assert refusals[0] == refusals[1]


def test_the_catalogue_says_whether_gradients_are_given(store: Path, here: ScoringClient) -> None:
    """By default where torch is; the caller may do without."""
    assert here.list_metrics().gradients
    with local(store, gradients=False) as client:
        assert not client.list_metrics().gradients
        with pytest.raises((UnsupportedError, NotDeployedError)):
            client.gradient(FLOATS, metric="lite")


def test_an_oracle_of_a_training_loop_needs_no_server(here: ScoringClient) -> None:
    """A step along its gradient raises the score."""
    oracle = LiveGradientOracle(here, here.list_metrics().metric("lite"))
    images = FLOATS.transpose(2, 0, 1)[None]
    scores, gradients = oracle.gradient(images)
    assert oracle.score(np.clip(images + 0.01 * np.sign(gradients), 0, 1)) > scores


def test_tensors_are_scored_like_arrays(here: ScoringClient) -> None:
    """Batches of torch, channels first or last, with a gradient attached, and single ones."""
    first = torch.from_numpy(np.stack([FLOATS, FLOATS[::-1]]).transpose(0, 3, 1, 2).copy()).requires_grad_(True)
    expected = [here.score(image, metric="lite").score for image in (FLOATS, np.ascontiguousarray(FLOATS[::-1]))]
    for batch in (first, first.permute(0, 2, 3, 1), list(first)):
        assert [getattr(outcome, "score", outcome) for outcome in here.score_batch(batch, metric="lite")] == expected
    assert here.score(first[0], metric="lite").score == expected[0]


@pytest.mark.slow
def test_a_campaign_runs_without_a_server(
    store: Path, wired: ScoringClient, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """`scoreguard attack --target local:STORE` writes the records that a server's campaign writes, and a report."""
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray((FLOATS * 255).astype(np.uint8)).save(photos / "a.png")
    records = []
    for name, target in (("here", f"local:{store}"), ("wired", wired.target)):
        run = str(tmp_path / name)
        fixed = ["attack", "--target", target, "--metric", "lite", "--images", str(photos), "--out", run]
        options = ["--attacks", "fgsm,square:queries=6", "--defences", "none,jpeg:quality=60", "--gradients", "live"]
        assert main([*fixed, *options, "--adaptive", "--json"]) == 0, capfd.readouterr().err
        assert json.loads(capfd.readouterr().out)["failed"] == 0
        assert main(["report", run, "--json"]) == 0
        records.append(json.loads(capfd.readouterr().out)["rows"])
    assert records[0] == records[1]
