"""The main job: a built archive, the real TorchServe, and a campaign against the live endpoint."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from live_servers import LiveServer
from PIL import Image

from scoreguard.v1.archive import Archive
from scoreguard.v1.spec import parse_chain
from scoreguard_client import ScoringClient
from scoreguard_client.campaign.ledger import Ledger
from scoreguard_client.campaign.records import Record
from scoreguard_client.oracles.local import LocalOracle

pytestmark = pytest.mark.live
PHOTOS = ("astronaut", "coffee", "rocket")
CHAINS = ("none", "jpeg:quality=50", "blur:sigma=1.5", "resize:scale=0.5", "flip", "blur+jpeg:quality=75")
SIDE = 128


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small real photographs."""
    folder = tmp_path_factory.mktemp("photos")
    for name in PHOTOS:
        Image.fromarray(getattr(skimage.data, name)()).resize((SIDE, SIDE)).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def address(lite_server: LiveServer) -> str:
    """Where it listens."""
    return lite_server.gateway.address


def scoreguard(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the client command as a user does."""
    code = "import sys; from scoreguard_client.cli import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("chain", CHAINS)
def test_the_live_score_and_gradient_are_the_archives_own(
    chain: str, address: str, lite_store: Path, photos: Path
) -> None:
    """ONNX Runtime's score, TorchScript's score behind GradientService, and a local copy agree; so do the gradients."""
    image = np.asarray(Image.open(photos / "coffee.png"), np.float32) / np.float32(255)
    with ScoringClient(address) as client:
        scored = client.score(image, metric="lite", defences=chain, seed=1)
        gradient = client.gradient(image, metric="lite", defences=chain, seed=1)
    local = LocalOracle(Archive(lite_store / "lite.mar"), parse_chain(chain))
    scores, gradients = local.gradient(np.ascontiguousarray(image.transpose(2, 0, 1)[None]))
    assert scored.score == pytest.approx(gradient.score, abs=2e-3)
    assert gradient.score == pytest.approx(scores[0], abs=1e-4)
    np.testing.assert_allclose(gradient.gradient, gradients[0].transpose(1, 2, 0), atol=1e-3 * np.abs(gradients).max())


@pytest.fixture(scope="module")
def run(address: str, lite_store: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished campaign, adaptive attacks included."""
    out = tmp_path_factory.mktemp("run") / "run"
    done = scoreguard(
        *("attack", "--metric", "lite", "--attacks", "ifgsm:iterations=5,square:queries=20"),
        *("--defences", "none,jpeg:quality=50", "--images", str(photos), "--out", str(out)),
        *("--adaptive", "--target", address, "--surrogate", str(lite_store), "--json"),
    )
    assert done.returncode == 0, done.stderr
    assert scoreguard("report", str(out)).returncode == 0
    return out


def records(run: Path) -> list[Record]:
    """Every record of the run."""
    with Ledger.open(run) as ledger:
        return ledger.records()


def gains(run: Path, attack: str, *, adaptive: bool) -> list[float]:
    """f(g(x')) − f(g(x)) behind JPEG."""
    return [
        record.attacked_defended - record.clean_defended
        for record in records(run)
        if record.attack.startswith(attack) and record.chain.startswith("jpeg") and record.adaptive is adaptive
        if record.attacked_defended is not None and record.clean_defended is not None
    ]


def test_every_cell_of_the_plan_has_one_sound_record_per_photograph(run: Path) -> None:
    """Nothing failed, nothing is doubled, and every budget was held, in float and in 8 bits."""
    found = records(run)
    assert len({record.key for record in found}) == len(found)
    assert {record.image.removesuffix(".png") for record in found} == set(PHOTOS)
    assert len(found) == len(PHOTOS) * 2 * 3  # attacks × (none, jpeg unaware, jpeg aware)
    for record in found:
        budget = {"ifgsm": 10 / 255, "square": 0.1}[record.attack.partition(":")[0]]
        assert record.error == ""
        assert record.l_inf is not None and record.l_inf_8bit is not None
        assert max(record.l_inf, record.l_inf_8bit) <= budget + 1e-6


def test_a_white_box_attack_raises_the_undefended_score_of_every_photograph(run: Path) -> None:
    """The live endpoint itself says so, for the float image and after rounding to 8 bits."""
    attacked = [
        r for r in records(run) if r.attack.startswith("ifgsm") and r.attacked_through == "none" and r.chain == "none"
    ]
    assert len(attacked) == len(PHOTOS)
    for record in attacked:
        assert record.clean_score is not None
        assert record.attacked_score is not None and record.attacked_score > record.clean_score
        assert record.attacked_score_8bit is not None and record.attacked_score_8bit > record.clean_score


def test_an_attacker_who_knows_the_defence_gains_more(run: Path) -> None:
    """Through JPEG the adaptive attack beats the one that ignores it, in the mean over the photographs."""
    assert np.mean(gains(run, "ifgsm", adaptive=True)) > np.mean(gains(run, "ifgsm", adaptive=False))


def test_the_surrogate_is_the_deployed_archive(run: Path, lite_store: Path) -> None:
    """The digests in the records are the archive's, and the oracle's score is the endpoint's."""
    archive = Archive(lite_store / "lite.mar")
    for record in records(run):
        assert record.metric_sha256 == archive.digest_of("metric.onnx")
        if record.attack.startswith("ifgsm") and record.attacked_through == record.chain == "none":
            assert record.crafting_score == pytest.approx(record.attacked_score, abs=1e-3)


def test_the_report_is_a_page_and_tables(run: Path) -> None:
    """The page needs nothing from elsewhere, and shows each image with its scores."""
    page = (run / "report" / "index.html").read_text()
    assert "<img" in page
    assert not re.findall(r"""(?:src|href)=["']https?://""", page)
    rows = list(csv.DictReader((run / "report" / "table.csv").read_text().splitlines()))
    assert {row["attack"].partition(":")[0] for row in rows} == {"ifgsm", "square"}


def test_another_plan_in_the_same_directory_is_refused(run: Path, photos: Path, address: str) -> None:
    """One line, exit code 2, and the records stay."""
    before = records(run)
    done = scoreguard(
        *("attack", "--metric", "lite", "--attacks", "fgsm", "--images", str(photos), "--out", str(run)),
        *("--target", address, "--gradients", "live"),
    )
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "Traceback" not in done.stderr
    assert records(run) == before
