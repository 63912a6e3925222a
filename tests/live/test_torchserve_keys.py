"""TorchServe's ports on loopback are open to every user of the machine; its keys are not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from gateways import Line, request
from live_servers import LiveServer

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user"),
]
INTRUDER = r"""
import json, os, socket, sys, urllib.error, urllib.request
import grpc
folder, ports, sock = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

def rest(port, path, method, **headers):
    call = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method, headers=headers)
    if method == "POST":
        call.data = b"x"
    try:
        with opener.open(call, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code

def rpc(port, method, *metadata):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/org.pytorch.serve.grpc." + method)
        try:
            call(b"", timeout=20, metadata=metadata)
            return "OK"
        except grpc.RpcError as error:
            return error.code().name

def opened(action):
    try:
        action()
        return "open"
    except PermissionError:
        return "closed"

# Tried once as root, on a port that nobody listens on: another user cannot read where Python's modules lie.
rpc(1, "warm.Up/Up")
try:
    rest(1, "/", "GET")
except urllib.error.URLError:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
bad = {"Authorization": "Bearer AAAAAAAA"}
management, inference = ports["management"], ports["inference"]
print(json.dumps({
    "rest": {
        "describe": rest(management, "/models/bright", "GET"),
        "list": rest(management, "/models", "GET"),
        "scale down": rest(management, "/models/bright?min_worker=0&max_worker=0", "PUT"),
        "scale up": rest(management, "/models/bright?min_worker=12", "PUT", **bad),
        "unregister": rest(management, "/models/bright", "DELETE"),
        "register": rest(management, "/models?url=bright.mar", "POST"),
        "new key": rest(management, "/token?type=management", "GET", **bad),
        "score": rest(inference, "/predictions/bright", "POST"),
        "score with a wrong key": rest(inference, "/predictions/bright", "POST", **bad),
        "invoke": rest(inference, "/models/bright/invoke", "POST"),
        "ping": rest(inference, "/ping", "GET"),
    },
    "grpc": {
        "score": rpc(ports["grpc_inference"], "inference.InferenceAPIsService/Predictions"),
        "score with a wrong key": rpc(
            ports["grpc_inference"], "inference.InferenceAPIsService/Predictions", ("authorization", "Bearer AAAAAAAA")
        ),
        "ping": rpc(ports["grpc_inference"], "inference.InferenceAPIsService/Ping"),
        "list": rpc(ports["grpc_management"], "management.ManagementAPIsService/ListModels"),
        "scale": rpc(ports["grpc_management"], "management.ManagementAPIsService/ScaleWorker"),
        "unregister": rpc(ports["grpc_management"], "management.ManagementAPIsService/UnregisterModel"),
    },
    "files": {
        "folder": opened(lambda: os.listdir(folder)),
        "keys": opened(lambda: open(folder + "/key_file.json")),
        "messages": opened(lambda: os.listdir(folder + "/spool")),
        "worker": opened(lambda: socket.socket(socket.AF_UNIX).connect(sock)),
    },
}))
"""


def test_another_user_can_neither_manage_nor_score(torchserve_server: LiveServer) -> None:
    """Scaling, unregistering, registering and scoring are refused, over REST and gRPC; the keys' folder is shut."""
    backend: Any = torchserve_server.gateway.backend
    folder, before = backend.server.folder, torchserve_server.worker_pids
    assert folder.stat().st_mode & 0o777 == 0o700
    (sock,) = folder.glob(".ts.sock.*")
    ports = json.dumps(vars(backend.server.ports))
    words = [sys.executable, "-c", INTRUDER, str(folder), ports, str(sock)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    tried = json.loads(done.stdout)
    assert {what: code for what, code in tried["rest"].items() if code not in {400, 401, 403}} == {}
    assert set(tried["grpc"].values()) <= {"PERMISSION_DENIED", "UNAUTHENTICATED"}
    assert set(tried["files"].values()) == {"closed"}

    async def scenario(line: Line) -> float:
        response = await line.stub.ScoreDefended(request())
        return float(response.score)

    assert torchserve_server.run(scenario) == pytest.approx(20, abs=1e-3)
    assert torchserve_server.worker_pids == before
