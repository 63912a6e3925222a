"""Generate the code for the contracts with the pinned generator: `python scripts/protos.py [OUT]`.

The generator is old on purpose: its code works with protobuf 6 and 7 (newer code refuses an older runtime).
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from google.rpc import status_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[1] / "proto"
WITH_SERVICES = ("scoring",)


def generate(out: Path) -> None:
    """Write `_pb2` modules and stubs for every schema, and `_pb2_grpc` for those with services."""
    schemas = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("scoreguard/v1/*.proto"))
    services = [schema for schema in schemas if Path(schema).stem in WITH_SERVICES]
    _protoc(schemas, f"--python_out={out}", f"--mypy_out=quiet:{out}")
    _protoc(services, f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}")


def _protoc(schemas: list[str], *outputs: str) -> None:
    scripts = Path(sysconfig.get_path("scripts"))
    plugins = [f"--plugin=protoc-gen-{name}={scripts / f'protoc-gen-{name}'}" for name in ("mypy", "mypy_grpc")]
    google = Path(status_pb2.__file__).parents[2]
    wellknown = Path(protoc.__file__).parent / "_proto"
    code = protoc.main(["protoc", f"-I{ROOT}", f"-I{google}", f"-I{wellknown}", *plugins, *outputs, *schemas])
    if code:
        sys.exit(code)


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
