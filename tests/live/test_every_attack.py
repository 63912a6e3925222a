"""Every attack of the catalogue against the live endpoint, and a campaign whose server is killed under it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from live_servers import LiveServer
from PIL import Image

from scoreguard_client import ScoringClient
from scoreguard_client.attacks import CATALOGUE, Needs
from scoreguard_client.campaign import CampaignOptions, Gradients, Ledger, Record, Runner, Summary, launch
from scoreguard_client.progress import Progress

pytestmark = pytest.mark.live
ATTACKS = {
    "fgsm": "",
    "ifgsm": ":iterations=2",
    "mifgsm": ":iterations=2",
    "amifgsm": ":iterations=2:mode=benchmark",
    "korhonen": ":iterations=2:least=2",
    "ssah": ":iterations=2",
    "madc": ":iterations=2",
    "zhang-ssim": ":iterations=2",
    "advcf": ":iterations=2",
    "pgd": ":iterations=2:restarts=1",
    "apgd": ":iterations=4",
    "mpgd": ":iterations=2",
    "dct-threshold": ":iterations=2",
    "ioi": "",
    "square": ":queries=4",
    "nes": ":queries=8:pairs=2",
    "spsa": ":queries=8:pairs=2",
    "simba": ":queries=4",
    "onepixel": ":queries=8:population=4",
    "patch-rs": ":queries=4",
    "auto": ":iterations=4:restarts=1:pushes=2:queries=4",
    "free-best": ":queries=4",
}
EDITS = [name for name, kind in CATALOGUE.items() if kind.needs is Needs.NOTHING]
"""These ask nothing, so that none is made anew for a chain."""
OTHERS = {"zhang-lpips", "zhang-dists", "cumulative-uap", "optimized-uap", "generative-uap", "momentum-uap"}
"""These need files: their own tests make them."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small real photographs."""
    folder = tmp_path_factory.mktemp("photos")
    for name in ("coffee", "rocket"):
        Image.fromarray(getattr(skimage.data, name)()).resize((72, 64)).save(folder / f"{name}.png")
    return folder


def quiet(runner: Runner) -> Progress:
    """Progress that nobody sees."""
    del runner
    return lambda steps, what: None


def campaign(target: str, options: CampaignOptions) -> tuple[Summary, list[Record]]:
    """Run a campaign; its outcome and its records."""
    with ScoringClient(target) as client:
        summary = launch(options, client, quiet)
    with Ledger.open(options.out) as ledger:
        return summary, ledger.records()


def test_every_attack_runs_against_the_endpoint_alone(lite_server: LiveServer, photos: Path, tmp_path: Path) -> None:
    """Scores and gradients come from the server; no attack fails, and each keeps what it declares."""
    assert {*ATTACKS, *EDITS} | OTHERS == set(CATALOGUE)
    options = CampaignOptions(
        metric="lite",
        attacks=",".join([*(name + parameters for name, parameters in ATTACKS.items()), *EDITS]),
        defences="none,jpeg:quality=50",
        images=photos,
        out=tmp_path / "run",
        adaptive=True,
        gradients=Gradients.LIVE,
    )
    summary, records = campaign(lite_server.gateway.address, options)
    assert summary.failed == 0, summary.first_error
    # Images x (none, jpeg unaware, jpeg aware); pushes over thresholds need to know them, edits know nothing.
    assert len(records) == 2 * (3 * (len(ATTACKS) - 1) + 1 + 2 * len(EDITS))
    for record in records:
        assert record.queries is not None and record.queries > 0
        assert record.l_inf is not None and record.changed_pixels is not None
        assert record.changed_pixels <= (1 if record.attack.startswith("onepixel") else 72 * 64)
        assert record.l_inf <= (10 / 255 if record.attack.startswith(("fgsm", "ifgsm", "mifgsm", "pgd", "apgd")) else 1)


@contextmanager
def served(store: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """`scoreguard-serve` as a process of its own, ready."""
    words = ["--model-store", str(store), "--backend", "local", "--workers", "1", "--port", str(port)]
    roots = os.pathsep.join(path for path in sys.path if path)
    with subprocess.Popen(
        [sys.executable, "-m", "scoreguard_handlers.cli", *words],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": roots},
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("ready:")
            yield process
        finally:
            process.kill()


def test_a_campaign_outlives_a_server_that_is_killed(
    lite_store: Path, photos: Path, tmp_path: Path, free_port: int
) -> None:
    """`kill -9` in the middle of a black-box attack, a new server on the port: every record is there, none failed."""
    target, reached, restarted = f"localhost:{free_port}", threading.Event(), threading.Event()
    options = CampaignOptions(
        metric="lite",
        attacks="square:queries=60,nes:queries=60",
        defences="none,flip",
        images=photos,
        out=tmp_path / "run",
    )

    def watch(runner: Runner) -> Progress:
        def progress(steps: int, what: str) -> None:
            if what.startswith("nes"):
                reached.set()

        return progress

    def kill_and_restart(first: subprocess.Popen[str]) -> None:
        reached.wait(120)
        first.send_signal(signal.SIGKILL)
        first.wait(20)
        with served(lite_store, free_port):
            restarted.set()
            finished.wait(120)

    finished = threading.Event()
    with served(lite_store, free_port) as first, ScoringClient(target) as client:
        helper = threading.Thread(target=kill_and_restart, args=[first])
        helper.start()
        try:
            summary = launch(options, client, watch)
        finally:
            finished.set()
            helper.join(60)
    assert restarted.is_set()
    assert (summary.records, summary.failed) == (2 * 2 * 2, 0)
    with Ledger.open(options.out) as ledger:
        assert np.all([record.attacked_defended is not None for record in ledger.records()])
