"""Run from a checkout without installation: put its folders and wheels on the path, and name what is missing.

It needs nothing but the standard library, so that a machine without any of the project's dependencies is told which.
"""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDERS: Final = ("proto", "export", "handlers", "clients", "benchmarks", "scripts")
_DONE: Final = ".complete"


@dataclass(frozen=True, kw_only=True)
class Need:
    """A module that the check imports."""

    module: str
    package: str
    """What to install, or to bring as a wheel."""
    sections: Collection[str] = ()
    """Sections that need it; empty = all."""


_CLIENT: Final = ("attacks", "service", "campaign")
_SERVER: Final = ("service", "campaign")
NEEDS: Final = (
    Need(module="numpy", package="numpy"),
    Need(module="torch", package="torch"),
    Need(module="google.protobuf", package="protobuf"),
    Need(module="google.rpc", package="googleapis-common-protos"),
    Need(module="PIL", package="pillow", sections=_CLIENT),
    Need(module="grpc", package="grpcio", sections=_CLIENT),
    Need(module="grpc_status", package="grpcio-status", sections=_CLIENT),
    Need(module="array_api_compat", package="array-api-compat", sections=("attacks", "campaign")),
    Need(module="click", package="click", sections=_SERVER),
    Need(module="psutil", package="psutil", sections=_SERVER),
    Need(module="onnxruntime", package="onnxruntime", sections=(*_SERVER, "onnx")),
    Need(module="grpc_health", package="grpcio-health-checking", sections=_SERVER),
    Need(module="grpc_reflection", package="grpcio-reflection", sections=_SERVER),
    Need(module="prometheus_client", package="prometheus-client", sections=_SERVER),
    Need(module="scipy", package="scipy", sections=("campaign",)),
    Need(module="skimage", package="scikit-image", sections=("campaign",)),
    Need(module="lazy_loader", package="lazy-loader", sections=("campaign",)),
)


def missing(sections: Collection[str]) -> list[Need]:
    """Return what the sections need and this Python lacks."""
    wanted = (need for need in NEEDS if not need.sections or set(need.sections) & set(sections))
    return [need for need in wanted if not _is_there(need.module)]


def line_about(need: Need) -> str:
    """Return one line that says what to bring and how."""
    where = f"section {', '.join(need.sections)}" if need.sections else "every section"
    return (
        f"no module {need.module} (for {where}): pip download --no-deps -d wheels {need.package}; then --wheels wheels"
    )


def use(folders: Sequence[Path]) -> None:
    """Put folders first on the path, of this process and of those that it starts."""
    texts = [str(folder) for folder in folders]
    sys.path[:0] = [text for text in texts if text not in sys.path]
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([*texts, *filter(None, before)]))


def source_folders() -> list[Path]:
    """Return the folders of the checkout that hold packages and scripts."""
    return [ROOT / name for name in FOLDERS]


def unpacked(wheels: Path, home: Path) -> list[Path]:
    """Unpack every wheel of a folder, each once into a folder of its own; returns those folders.

    Raises:
        OSError: a file cannot be read or written.
        zipfile.BadZipFile: a wheel is damaged.
    """
    found = []
    for wheel in sorted(wheels.glob("*.whl")):
        folder = home / wheel.stem
        if not (folder / _DONE).exists():
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
            (folder / _DONE).touch()
        found.append(folder)
    return found


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent
        return False
