"""Clips in front of the real TorchServe, and a long one in bounded memory."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from gateways import Line
from live_servers import running_server
from serve_command import command, environment
from tiny_archives import write_tiny_archive
from video_metrics import ThinVsfa, video_weights
from videos import moving, written

from scoreguard_client import ScoringClient, local
from scoreguard_client.clip_attack import attack_clip
from scoreguard_export.archive.build import BuildConfig, build
from scoreguard_export.archive.verify import verify_store
from scoreguard_export.graph_module import Role
from scoreguard_export.metrics.catalogue import CATALOGUE
from scoreguard_handlers.config import ServeConfig

pytestmark = pytest.mark.live
FRAMES = list(moving(6, 400, 300))
"""Larger than what TorchServe gets inside a call: they travel in files."""
BRIGHTNESS = [float(frame.mean()) / 2.55 for frame in FRAMES]
GIB = 1 << 30


def test_torchserve_scores_a_clip_as_the_local_backend_does(tmp_path: Path) -> None:
    """Frames or a video, with features and a pooled score, to the last bit."""
    write_tiny_archive(tmp_path, "motion")
    found = []
    for backend in ("torchserve", "local"):
        config = ServeConfig(model_store=tmp_path, backend=backend, port=0, workers=1)
        with running_server(config) as server:

            async def address(line: Line) -> str:
                return line.gateway.address

            with ScoringClient(server.run(address)) as client:
                frames = client.score_clip(FRAMES, metric="motion", defences="gain:factor=0.5", return_undefended=True)
                video = client.score_clip(written(FRAMES), metric="motion", defences="gain:factor=0.5")
        assert frames.frame_scores == video.frame_scores
        assert frames.score == video.score
        found.append((frames.score, frames.undefended_score, frames.frame_scores, frames.undefended_frame_scores))
    assert found[0] == found[1]
    assert found[0][1] == pytest.approx(0.5 * BRIGHTNESS[-1] + 0.5 * float(np.mean(BRIGHTNESS)), abs=1e-2)


@pytest.fixture(scope="module")
def video_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The archive of VSFA on a small network, built and verified as any other."""
    folder = tmp_path_factory.mktemp("vsfa")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CATALOGUE._loaded, "vsfa", ThinVsfa)
        files = video_weights("vsfa", folder)
        store = folder / "store"
        config = BuildConfig(
            metrics=("vsfa",), defences=("flip",), model_store=store, weights=files, default_variants=True
        )
        build(config)
        (verified,) = verify_store(store)
    assert (verified.graphs, verified.not_compared) == (4, ())
    yield store


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_engine_scores_a_clip_as_the_modules_do(video_store: Path, tmp_path: Path) -> None:
    """ONNX Runtime and TorchScript: the clip, and each frame as what `score` gives for it; then under attack."""
    metric = ThinVsfa.from_weights(video_weights("vsfa", tmp_path)).requires_grad_(False)
    frames = list(moving(14, 80, 96))
    images = torch.from_numpy(np.stack(frames).astype(np.float32) / np.float32(255)).permute(0, 3, 1, 2).contiguous()
    parts = metric.graphs()
    expected = float(parts[Role.POOL](parts[Role.FRAME](images)[None]))
    for engine in ("onnx", "torchscript"):
        with local(video_store, engine=engine, gradients=True) as client:
            found = client.score_clip(frames, metric="vsfa")
            alone = [client.score(frame, metric="vsfa").score for frame in frames]
        assert found.score == pytest.approx(expected, abs=1e-4)
        assert found.frame_scores == pytest.approx(metric(images).tolist(), abs=1e-4)
        assert found.frame_scores == pytest.approx(alone, abs=1e-6)
        assert found.score != pytest.approx(float(np.mean(found.frame_scores)), abs=1e-4)
    path = tmp_path / "clip.mkv"
    path.write_bytes(written(frames))
    with local(video_store, gradients=True) as client:
        attacked = attack_clip(client, path, metric="vsfa", attack="ifgsm:eps=2/255:iterations=2", defences="flip")
    assert attacked.gain > 0.0
    assert attacked.l_infinity <= 2 / 255 + 1e-6


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_long_clip_of_full_hd_takes_less_than_two_gibibytes(video_store: Path, tmp_path: Path) -> None:
    """250 frames through a metric of videos: all processes of the server together, watched while it works."""
    path = tmp_path / "long.mp4"
    frames, quick = moving(250, 1080, 1920), {"preset": "ultrafast"}
    path.write_bytes(written(frames, container="mp4", codec="libx264", pixels="yuv420p", options=quick))
    line = command(video_store)
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[3]
            peak, done = [0], threading.Event()
            watching = threading.Thread(target=_watch, args=(psutil.Process(process.pid), peak, done))
            watching.start()
            with ScoringClient(address) as client:
                found = client.score_clip(path, metric="vsfa", defences="flip", timeout=1500)
            done.set()
            watching.join()
        finally:
            process.kill()
    assert len(found.frames) == 250
    assert found.pooling == "temporal"
    assert (found.provenance.height, found.provenance.width) == (1080, 1920)
    assert len(set(found.frame_scores)) > 200
    assert 0 < peak[0] < 2 * GIB, f"{peak[0] / GIB:.2f} GiB"


def _watch(process: psutil.Process, peak: list[int], done: threading.Event) -> None:
    """Keep the largest resident memory of a process and those that it started."""
    while not done.is_set():
        tree = [process, *process.children(recursive=True)]
        peak[0] = max(peak[0], sum(each.memory_info().rss for each in tree))
        time.sleep(0.05)
