"""Pickled and scripted modules → safetensors, by a process of its own: see `state_reader`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch

from scoreguard.support.digests import sha256_of_file
from scoreguard_export.errors import WeightsError, one_line
from scoreguard_export.weights import state_reader
from scoreguard_export.weights.tensors import write_tensors

_SECONDS: Final = 900
"""How long the process may take."""
SOURCE_KEY: Final = "source_sha256"
"""Name of the original file's digest in the metadata of the converted one."""


def convert(path: Path, out: Path, own: Sequence[str] = ()) -> int:
    """Write the tensors of a module to a safetensors file, under the names of its state_dict.

    Args:
        path: What `torch.save(module)` or TorchScript wrote.
        out: The file to write.
        own: Packages of the authors, whose classes are replaced by ones without code.

    Returns:
        The number of tensors.

    Raises:
        WeightsError: the file is missing, damaged, or holds something else than modules and tensors; the message names
            the global that it would need.
        OSError: the result cannot be written.
    """
    if not path.is_file():
        raise WeightsError(f"no file {path}")
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "tensors.pt"
        command = [sys.executable, "-I", str(state_reader.__file__), str(path.resolve()), str(result), *own]
        try:
            done = subprocess.run(
                command, cwd=folder, env={"OMP_NUM_THREADS": "1"}, capture_output=True, timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise WeightsError(f"{path} is refused: reading it took more than {_SECONDS} s") from error
        if done.returncode:
            raise WeightsError(f"{path} is refused: {_reason(done)}")
        tensors = torch.load(result, weights_only=True)
    write_tensors(out, tensors, {SOURCE_KEY: sha256_of_file(path)})
    return len(tensors)


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    if done.returncode == state_reader.REFUSED:
        return one_line(done.stderr.decode(errors="replace"))
    return f"the process that read it ended with {done.returncode}, at the limit of its time or memory"
