"""Shared parts of resumable training: atomic checkpoints, and a digest of what determines the run."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from scoreguard.support.whole_files import whole_file
from scoreguard_export.errors import TrainingError


def digest_of(values: Mapping[str, object]) -> str:
    """Return the SHA-256 of the values as JSON, hexadecimal; only the name of a path counts, not its folder."""
    text = json.dumps(dict(values), default=lambda value: Path(str(value)).name, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_checkpoint(path: Path, digest: str, content: Mapping[str, Any]) -> None:
    """Write a checkpoint; a run that is killed meanwhile leaves the previous one."""
    with whole_file(path) as unfinished:
        torch.save({"config": digest, **content}, unfinished)


def read_checkpoint(path: Path, digest: str) -> dict[str, Any] | None:
    """Return the content of a checkpoint, or None if there is none.

    Raises:
        TrainingError: the checkpoint is damaged or belongs to another configuration.
    """
    if not path.exists():
        return None
    try:
        content: object = torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path} is not a checkpoint of this training: delete it to start afresh") from error
    if not isinstance(content, dict) or content.get("config") != digest:
        raise TrainingError(f"{path} belongs to another configuration: delete it or name another --checkpoint")
    return content


def write_record(weights: Path, record: Mapping[str, object]) -> None:
    """Write how weights were made, as JSON next to them."""
    weights.with_suffix(".json").write_text(json.dumps(dict(record), indent=2) + "\n")


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Use this many torch threads, and restore the earlier number afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
