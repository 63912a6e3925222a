"""Find the files that the archives of a model store share, from inside a TorchServe worker.

TorchServe unpacks an archive into a temporary folder and does not say where it came from. scoreguard-serve passes it in
the environment. Plain `torchserve` has the model store on its command line, which a worker can read, since TorchServe
is one of its ancestors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import psutil

from scoreguard.v1.blobs import FOLDER

VARIABLE: Final = "SCOREGUARD_BLOBS"
_MAIN_CLASS: Final = "org.pytorch.serve.ModelServer"
_OPTIONS: Final = ("-s", "--model-store")


def blob_folder(environment: Mapping[str, str] = os.environ, process: psutil.Process | None = None) -> Path | None:
    """Return the folder of shared files; None if it is unknown.

    Args:
        environment: `SCOREGUARD_BLOBS` names the folder; set it if archives are registered from outside the
            model store.
        process: The worker; None = this process.
    """
    if given := environment.get(VARIABLE):
        return Path(given)
    store = _model_store(process or psutil.Process())
    return store / FOLDER if store is not None else None


def _model_store(process: psutil.Process) -> Path | None:
    """Return the model store of the TorchServe that started a process."""
    try:
        for parent in process.parents():
            words = parent.cmdline()
            if _MAIN_CLASS in words:
                return _named_by(words[words.index(_MAIN_CLASS) :], parent)
    except psutil.Error:  # the parent is gone or belongs to another user
        return None
    return None


def _named_by(words: Sequence[str], process: psutil.Process) -> Path | None:
    """Return the option's value; a relative path is relative to where TorchServe was started."""
    for option, value in pairwise(words):
        if option in _OPTIONS:
            return Path(process.cwd()) / value
    return None
