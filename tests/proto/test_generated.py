"""The committed generated code is what the pinned generator makes of the schemas."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

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
