"""The committed generated code is what the pinned generator makes of the schemas."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from google.rpc import status_pb2

ROOT = Path(__file__).resolve().parents[2]


def test_the_committed_code_is_what_the_generator_makes(tmp_path: Path) -> None:
    """Regenerating changes no byte."""
    subprocess.run([sys.executable, str(ROOT / "scripts/protos.py"), str(tmp_path)], check=True)
    fresh = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*_pb2*")}
    committed = {
        path.relative_to(ROOT / "proto"): path.read_bytes()
        for path in (ROOT / "proto").rglob("*_pb2*")
        if "__pycache__" not in path.parts
    }
    assert fresh == committed


def test_every_message_field_and_rpc_carries_a_comment() -> None:
    """The schemas explain themselves: each declaration follows a comment line."""
    declaration = re.compile(r"\s*(message|enum|service|rpc|oneof|(?:optional |repeated |map<)?[\w.<>, ]+ \w+ = \d+)")
    for path in (ROOT / "proto").rglob("*.proto"):
        lines = path.read_text().splitlines()
        for above, line in pairwise(lines):
            if declaration.match(line) and not line.lstrip().startswith("//"):
                assert above.lstrip().startswith("//"), f"{path.name}: {line}"


def test_the_schemas_follow_bufs_standard_style(tmp_path: Path) -> None:
    """`buf lint` with the categories STANDARD and COMMENTS finds nothing in our module."""
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    shutil.copytree(Path(status_pb2.__file__).parent, tmp_path / "google/google/rpc")
    rules = "lint: {use: [STANDARD, COMMENTS]}"
    (tmp_path / "buf.yaml").write_text(
        f"version: v2\nmodules: [{{path: proto}}, {{path: google, lint: {{ignore: [google]}}}}]\n{rules}\n"
    )
    buf = Path(sys.executable).with_name("buf")
    done = subprocess.run([str(buf), "lint"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert not [line for line in done.stdout.splitlines() if line.startswith("proto")], done.stdout
    assert not done.stderr
