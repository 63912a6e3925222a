"""What every resumable training shares: a checkpoint that is whole or absent, and a digest of what decides the run."""

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
    """SHA-256 of the values as JSON, hexadecimal; a path counts by its name, since where it is kept decides nothing."""
    text = json.dumps(dict(values), default=lambda value: Path(str(value)).name, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_checkpoint(path: Path, digest: str, content: Mapping[str, Any]) -> None:
    """Write a checkpoint; a run that is killed meanwhile leaves the one before."""
    with whole_file(path) as unfinished:
        torch.save({"config": digest, **content}, unfinished)


def read_checkpoint(path: Path, digest: str) -> dict[str, Any] | None:
    """The content of a checkpoint, or None where there is none.

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
    """How weights came to be, as JSON beside them."""
    weights.with_suffix(".json").write_text(json.dumps(dict(record), indent=2) + "\n")


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Use this many threads of torch, and the earlier number afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
